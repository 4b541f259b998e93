"""What each utterance is labelled with: a class, the raters' votes over the classes, or dimensions.

Before `task.py`, which puts these labels beside the audio.

Legend: N utterances, C classes, D dimensions.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

from spknorm.corpora.known.words import class_of
from spknorm.corpora.records import Utterance
from spknorm.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

DIMENSIONS = ("arousal", "valence", "dominance")
Scale = tuple[float, float]
_TOLERANCE = 1e-6


def class_labels(utterances: Sequence[Utterance], classes: Sequence[str]) -> list[int]:
    """Return class indices (N,)."""
    place = {name: index for index, name in enumerate(classes)}
    return [place[str(one.emotion)] for one in utterances]


def vote_labels(
    utterances: Sequence[Utterance],
    classes: Sequence[str],
    class_under: Callable[[str], str | None],
) -> list[tuple[float, ...]]:
    """Return the raters' votes (N, C), each row a distribution over the classes in use.

    Votes for words outside these classes are left out; an utterance without votes, or with none for
    any of the classes, has its class alone. Both are counted in the log.

    Args:
        utterances: With `votes` over the corpus' own words.
        classes: By index.
        class_under: The class of such a word, or None.

    Raises:
        DataError: No utterance has votes.
    """
    place = {name: index for index, name in enumerate(classes)}
    rows, without, outside = [], 0, 0.0
    for one in utterances:
        row = [0.0] * len(classes)
        for word, weight in one.votes:
            name = class_under(word)
            if name in place:
                row[place[str(name)]] += weight
            else:
                outside += weight
        if not sum(row):
            without += 1
            row[place[str(one.emotion)]] = 1.0
        rows.append(tuple(weight / sum(row) for weight in row))
    if without == len(utterances):
        raise DataError(
            "`labels_from: votes` needs raters' votes, but no training utterance of this corpus "
            "has any for its classes: take `labels_from: majority`."
        )
    logger.info(
        "Soft labels: %d of %d training utterances have votes; votes of a weight of %.4g for words "
        "outside the classes are left out.",
        len(utterances) - without,
        len(utterances),
        outside,
    )
    return rows


def balanced_weights(
    labels: Sequence[int] | Sequence[tuple[float, ...]], num_classes: int
) -> list[float]:
    """Return weights (C,) of the classes, N / (C n_c); 0 for a class that does not train.

    `labels` are (N,) indices, or (N, C) votes, whose sums count. The mean weight over the training
    utterances is 1, so that the loss keeps its size.
    """
    counts = [0.0] * num_classes
    for label in labels:
        if isinstance(label, tuple):
            counts = [sum(pair) for pair in zip(counts, label, strict=True)]
        else:
            counts[label] += 1
    present = sum(count > 0 for count in counts)
    return [len(labels) / (present * count) if count else 0.0 for count in counts]


def dimensions_among(records: Sequence[Utterance]) -> tuple[str, ...]:
    """Return the dimensions that the corpus has.

    Raises:
        DataError: It has none.
    """
    found = tuple(
        name for name in DIMENSIONS if any(getattr(one, name) is not None for one in records)
    )
    if not found:
        raise DataError(
            f"`targets: dimensions` needs utterances with {', '.join(DIMENSIONS)}, but this corpus "
            "has none. IEMOCAP, MSP-IMPROV and MSP-Podcast have them; a manifest has them as "
            "columns of these names."
        )
    return found


def with_dimensions(records: Sequence[Utterance], names: Sequence[str]) -> list[Utterance]:
    """Return the utterances that have all of the dimensions; what is left out is counted.

    Raises:
        DataError: None has.
    """
    kept = [one for one in records if all(getattr(one, name) is not None for name in names)]
    if not kept:
        raise DataError(f"No utterance has all of {', '.join(names)}.")
    if len(kept) < len(records):
        logger.warning(
            "%d of %d utterances lack one of %s and are left out.",
            len(records) - len(kept),
            len(records),
            ", ".join(names),
        )
    return kept


def scale_of(
    records: Sequence[Utterance],
    names: Sequence[str],
    asked: Sequence[float] | None,
    known: Sequence[float] | None,
) -> Scale:
    """Return the scale of the dimensions; where nobody says it, what the corpus spans.

    Args:
        records: With all of the dimensions.
        names: Of them.
        asked: `datarc.scale`.
        known: What the corpus uses; a few values outside of it are told of, and kept.

    Raises:
        ConfigError: Values lie outside of what was asked for.
        DataError: All values are the same.
    """
    given, is_asked = asked or known, asked is not None
    values = [(float(getattr(one, name)), one, name) for one in records for name in names]
    least, most = min(v for v, _, _ in values), max(v for v, _, _ in values)
    if given is None:
        if least == most:
            raise DataError(f"All {', '.join(names)} are {least:g}: there is nothing to learn.")
        logger.info("The dimensions span %g to %g; `datarc.scale` may say more.", least, most)
        return least, most
    low, high = given
    outside = [one for one in values if not low - _TOLERANCE <= one[0] <= high + _TOLERANCE]
    if outside and not is_asked:
        logger.warning(
            "%d of %d values of %s lie outside the corpus' scale, %g to %g, and are kept.",
            len(outside),
            len(values),
            ", ".join(names),
            low,
            high,
        )
    elif outside:
        value, one, name = outside[0]
        raise ConfigError(
            f"The {name} of `{one.id}` is {value:g}, outside the scale {low:g} to {high:g}: set "
            "`downstream_expert.datarc.scale` to [least, greatest]."
        )
    return float(low), float(high)


def dimension_labels(
    utterances: Sequence[Utterance], names: Sequence[str], scale: Scale
) -> list[tuple[float, ...]]:
    """Return the dimensions (N, D), from their scale to -1 ... 1."""
    centre, half = (scale[0] + scale[1]) / 2, (scale[1] - scale[0]) / 2
    return [
        tuple((float(getattr(one, name)) - centre) / half for name in names) for one in utterances
    ]


def word_classes(
    labels: str | Mapping[str, Mapping[str, str | None]], records: Sequence[Utterance]
) -> Callable[[str], str | None]:
    """Return the function from a corpus' word to its class under a label set.

    The words that occur as labels map as these utterances do (so IEMOCAP's excited is happy under
    four classes, and itself under all); a word that only raters use stands for its own class.
    """
    if not isinstance(labels, str):
        return dict(labels["map"]).get
    known = {str(one.original or one.emotion): one.emotion for one in records}
    return lambda word: known.get(word, class_of(word))
