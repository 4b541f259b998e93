"""Groups of speakers that are alike in sex, number and classes: the folds of loso-group.

Beside parts.py. Whole numbers and hashes alone decide, so that no library version, machine or file
order can change a group.
"""

from collections import Counter
from collections.abc import Sequence

from spknorm.corpora.records import Utterance
from spknorm.errors import DataError
from spknorm.protocols.parts import Part, Records, parted, rank, speakers_of


def hold_out_group(records: Records, fold: str, num_groups: int) -> tuple[Part, Part]:
    """Return (the others, the utterances of the N-th of `num_groups` groups) for foldN.

    Raises:
        DataError: An utterance has no speaker, or there are fewer speakers than groups.
    """
    groups = groups_of(records, num_groups)
    test = set(groups[int(fold.removeprefix("fold")) - 1])
    return parted(records, lambda one: one.speaker in test)


def groups_of(records: Sequence[Utterance], num_groups: int) -> list[list[str]]:
    """Return speakers in groups: as many women and men in each, then as many utterances per class.

    The speakers with most utterances are placed first, each in the group with the fewest of their
    sex, of those in the one with the fewest speakers, then in the one that stays most even over the
    classes. Without a column `sex` all count as one.
    """
    speakers = speakers_of(records, "The protocol loso-group")
    if len(speakers) < num_groups:
        raise DataError(
            f"loso-group makes {num_groups} groups of speakers, but there are {len(speakers)}: "
            "lower `groups`, or take the protocol loso."
        )
    classes: dict[str, Counter[str]] = {name: Counter() for name in speakers}
    sexes: dict[str, str] = {}
    for one in records:
        classes[str(one.speaker)][str(one.emotion)] += 1
        sexes.setdefault(str(one.speaker), one.label("sex") or "")
    speakers.sort(key=lambda name: (-classes[name].total(), rank("groups", 0, name)))
    groups: list[list[str]] = [[] for _ in range(num_groups)]
    counts: list[Counter[str]] = [Counter() for _ in range(num_groups)]

    def cost(place: int, name: str) -> tuple[int, int, int, int]:
        alike = sum(sexes[other] == sexes[name] for other in groups[place])
        after = counts[place] + classes[name]
        before = sum(count**2 for count in counts[place].values())
        uneven = sum(count**2 for count in after.values()) - before
        return alike, len(groups[place]), uneven, place

    for name in speakers:
        best = min(range(num_groups), key=lambda place: cost(place, name))
        groups[best].append(name)
        counts[best] += classes[name]
    return [sorted(group) for group in groups]
