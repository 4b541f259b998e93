"""What a setting's field says of itself: which values it takes, and what it changes.

Before the sections, whose fields carry these marks: `Annotated[int, ABOVE_0, NUMBERS] = 4`. A new
setting is marked there and nowhere else: `typed.py` in config/ checks the range, `effects.py`
answers for resume, bench, audit and report whether it matters.
"""

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Range:
    """Which numbers a setting takes, or each item of a list; infinity is in no range."""

    above: float = -math.inf
    least: float = -math.inf
    below: float = math.inf
    most: float = math.inf

    def __contains__(self, value: float) -> bool:
        """Whether the setting takes a number."""
        return self.above < value < self.below and self.least <= value <= self.most

    def __str__(self) -> str:
        """Return the range in words, as in: must be 0 or more."""
        if self.above > -math.inf:
            upper = f" and at most {self.most:g}" if self.most < math.inf else ""
            upper = f" and below {self.below:g}" if self.below < math.inf else upper
            return f"above {self.above:g}{upper}"
        if self.most < math.inf:
            return f"between {self.least:g} and {self.most:g}"
        upper = f" and below {self.below:g}" if self.below < math.inf else ""
        return f"{self.least:g} or more{upper}"


class OneOf:
    """Which names a setting takes, where a table of the library says so.

    `names` is asked each time, so that a new row is a new name.
    """

    def __init__(self, names: Callable[[], Sequence[str]]) -> None:
        self.names = names


class Parser:
    """How a value is read that no type describes; of one that is not `what`, `parse` makes None."""

    def __init__(self, parse: Callable[[Any], Any], what: str) -> None:
        self.parse, self.what = parse, what


ABOVE_0 = Range(above=0)
NOT_NEGATIVE = Range(least=0)
SHARE = Range(least=0, most=1)
PART = Range(above=0, below=1)


class Effect(enum.Enum):
    """What changes when a setting does."""

    NUMBERS = "numbers"
    """Weights, predictions or scores, be it by rounding: another value is another method."""
    REPEAT = "repeat"
    """Numbers, too; but runs that differ in it alone repeat one method (fold, seed, draw)."""
    LENGTH = "length"
    """Numbers, too; but a run that is gone on with may get another."""
    NOTHING = "nothing"
    """No bit of weights, predictions and scores, on the CPU."""
    PLACE = "place"
    """It says where something lies: what is found there counts (spknorm.corpora.digest)."""


NUMBERS, REPEAT, LENGTH, NOTHING, PLACE = Effect


class When:
    """A setting matters only where one of some other settings has one of some values.

    Several marks of this kind on a field, or on the sections around it, must all hold.

    Args:
        alternatives: Values by path, such as `{"upstream.packed": (True,)}`.
    """

    def __init__(self, alternatives: Mapping[str, tuple[object, ...]]) -> None:
        self.alternatives = MappingProxyType(dict(alternatives))

    def holds(self, settings: Mapping[str, object]) -> bool:
        """Whether it is so under settings by path."""
        return any(settings[path] in values for path, values in self.alternatives.items())


_METHOD, _DATA = "downstream_expert.spknorm.", "downstream_expert.datarc."
STRATEGY = f"{_METHOD}strategy"
ADVERSARY = When({STRATEGY: ("SNP", "TAP")})
GATED = When({STRATEGY: ("SNP",)})
IN_UPSTREAM = When({STRATEGY: ("TAP",)})
WITH_SPEAKERS = When({STRATEGY: ("SNP", "TAP"), f"{_METHOD}erasure": ("leace",)})
"""Where a run reads the speaker corpus."""
LEACE = When({f"{_METHOD}erasure": ("leace",)})
ADAPTIVE = When({f"{_METHOD}update": ("adaptive",)})
LITERAL = When({f"{_METHOD}update": ("literal",)})
RELATIVE = When({f"{_METHOD}update": ("relative",)})
TOWARDS_UNIFORM = When({f"{_METHOD}adversary": ("confusion", "entropy")})
NOT_ADAPTIVE = When({f"{_METHOD}update": ("literal", "reversal", "relative")})
SCHEDULED = When({f"{_METHOD}schedule": ("linear", "dann")})
LOW_RESOURCE = When({f"{_DATA}protocol": ("low_resource",)})
GROUPED = When({f"{_DATA}protocol": ("loso-group",), f"{_DATA}unseen": ("sentences", "both")})
CLASSES = When({f"{_DATA}targets": ("classes",)})
DIMENSIONS = When({f"{_DATA}targets": ("dimensions",)})
LISTED = When({f"{_DATA}protocol": ("emobox",)})
CROSS = When({f"{_DATA}protocol": ("cross",)})
OURS = When({f"{_DATA}protocol": ("si5", "si10", "loso", "loso-group", "low_resource")})
"""Protocols that are made here, not read from a list or chosen at random."""
DEMO = When({f"{_DATA}corpus": ("demo",), "downstream_expert.speaker_corpus.corpus": ("demo",)})
THEIR_ENGINE = When({"runner.engine": ("s3prl",)})
