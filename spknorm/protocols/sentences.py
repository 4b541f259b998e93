"""Held-out sentences: the second axis of a split, beside the speakers'.

Most acted corpora have everybody say the same few sentences, so that a split by speaker leaves all
text on both sides. Whole numbers and hashes alone decide, as in `groups.py`.
"""

from collections import Counter

from spknorm.errors import DataError
from spknorm.protocols.parts import Part, Records, parted, rank


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
