"""selection.json: how a bench chose each adversary's lambda, of which candidates.

Written by `spknorm.bench.selection`, shown by `spknorm.report.leakage`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from spknorm.config import to_mapping
from spknorm.files import write_json
from spknorm.runs.checked import Between, Share, build, check_schema, read_object

SELECTION_SCHEMA = "spknorm.selection/1"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One lambda of one upstream and variant, over the selection seeds.

    Attributes:
        speaker_lambda: The candidate; 0 is the control.
        dev_wa: Mean over runs: WA, or the CCC of runs that predict dimensions.
        dev_wa_std: Its standard deviation.
        leakage: Accuracy of a fresh speaker probe on the corpus' dev part, mean over runs.
        leakage_std: Its standard deviation.
        num_runs: How many runs.
        kept: Whether dev WA stayed within `keep` points of lambda 0.
    """

    speaker_lambda: float
    dev_wa: Annotated[float, Between(-1.0, 1.0)]
    dev_wa_std: float = 0.0
    leakage: Share
    leakage_std: float = 0.0
    num_runs: int
    kept: bool = True


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen for one upstream and variant; `doubt` says what speaks against it."""

    upstream: str
    variant: str
    speaker_lambda: float
    candidates: tuple[Candidate, ...]
    doubt: str | None = None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The whole file; `asked` is what `select` said, and the candidates' runs."""

    schema: str = SELECTION_SCHEMA
    asked: Mapping[str, Any] = field(default_factory=dict)
    choices: tuple[Choice, ...]


def read_selection(path: Path) -> Selection:
    """Return a selection.json, checked.

    Raises:
        ConfigError: It is malformed; the message names file and key.
    """
    value = read_object(path)
    check_schema(value, SELECTION_SCHEMA, path)
    return build(Selection, value, path)


def write_selection(path: Path, selection: Selection) -> None:
    """Write a selection.json."""
    write_json(path, to_mapping(selection))
