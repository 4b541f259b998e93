"""Groups of speakers that are alike (the folds of loso-group), and of sentences.

Beside parts.py. Most acted corpora have everybody say the same few sentences, so that a split by
speaker leaves all text on both sides: they can be held out, too. Whole numbers and hashes alone
decide, so that no library version, machine or file order can change a group.
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
        before, after = counts[place], counts[place] + classes[name]
        uneven = sum(one**2 for one in after.values()) - sum(one**2 for one in before.values())
        return alike, len(groups[place]), uneven, place

    for name in speakers:
        best = min(range(num_groups), key=lambda place: cost(place, name))
        groups[best].append(name)
        counts[best] += classes[name]
    return [sorted(group) for group in groups]


def sentence_groups(records: Records, num_groups: int) -> list[frozenset[str]]:
    """Return the sentences in groups of nearly as many utterances; fewer groups if there are fewer.

    Raises:
        DataError: An utterance has no sentence, or there is a single one.
    """
    counts: Counter[str] = Counter()
    for one in records:
        sentence = one.label("sentence")
        if sentence is None:
            raise DataError(
                "Held-out sentences (`unseen: sentences` or `both`) need the sentence of every "
                f"utterance; {one.id} has none."
            )
        counts[sentence] += 1
    if len(counts) < 2:
        raise DataError(
            f"Held-out sentences need two of them, but everybody says `{next(iter(counts), '')}`."
        )
    groups: list[set[str]] = [set() for _ in range(min(num_groups, len(counts)))]
    sizes = [0] * len(groups)
    for name in sorted(counts, key=lambda name: (-counts[name], rank("sentences", 0, name))):
        place = min(range(len(groups)), key=lambda one: (sizes[one], len(groups[one]), one))
        groups[place].add(name)
        sizes[place] += counts[name]
    return [frozenset(group) for group in groups]


def hold_out_sentences(records: Records, fold: str, num_groups: int) -> tuple[Part, Part]:
    """Return (the others, the utterances of the N-th group of sentences) for foldN."""
    groups = sentence_groups(records, num_groups)
    number = int(fold.removeprefix("fold"))
    if number > len(groups):
        raise DataError(
            f"{fold} tests on group {number} of the sentences, but there are {len(groups)}."
        )
    held = groups[number - 1]
    return parted(records, lambda one: one.label("sentence") in held)


def without_shared_sentences(
    records: Records, pool: Part, test: Part, fold: str, num_groups: int
) -> tuple[Part, Part]:
    """Return pool and test with a group of sentences that is only tested, and the others, only not.

    Group N of foldN, from the first again where there are more folds than groups. What has a
    tested sentence and a training speaker, or the reverse, is in neither.
    """
    groups = sentence_groups(records, num_groups)
    held = groups[(int(fold.removeprefix("fold")) - 1) % len(groups)]
    return (
        [one for one in pool if one.label("sentence") not in held],
        [one for one in test if one.label("sentence") in held],
    )
