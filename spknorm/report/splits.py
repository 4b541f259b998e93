"""What has to be said of a table's folds: whose they are, what leaks, and what UA is a mean of.

Before `score_tables.py` in the report; it is in the result files (`split`, `test.ua_over`).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from spknorm.protocols import TITLES, Splitting
from spknorm.runs import Runs

if TYPE_CHECKING:
    from pandas import DataFrame

_MOST = 3


def title_of(protocol: str, rows: "DataFrame") -> str:
    """Return a table's title: the protocol in words and, where test speakers train, that."""
    words = f"Protocol {protocol}: {TITLES.get(protocol, protocol)}"
    unseen = {one.unseen for one in splittings(rows)} - {"speakers"}
    words += f", unseen {' and '.join(sorted(unseen))}" if unseen else ""
    leaks = leaks_of(rows)
    if not leaks:
        return words
    more = f" and {len(leaks) - 1} more" if len(leaks) > 1 else ""
    return f"{words} [LEAKS: {leaks[0].partition(':')[0]}{more}]"


def leaks_of(rows: "DataFrame") -> list[str]:
    """Return what test and training share in any of the runs, each sentence once."""
    return [*dict.fromkeys(leak for one in splittings(rows) for leak in one.leaks)]


def splittings(rows: "DataFrame") -> list[Splitting]:
    """Return how the runs were split; runs of earlier versions do not say."""
    if "split" not in rows:
        return []
    return [one for one in rows["split"] if isinstance(one, Splitting)]


def classes_note(rows: "DataFrame") -> str:
    """Return over which classes UA is a mean, where that is not all of them in all runs."""
    if "ua_over" not in rows:
        return ""
    found: dict[str, list[str]] = {}
    for fold, classes, over in zip(rows["fold"], rows["classes"], rows["ua_over"], strict=True):
        absent = [name for name in classes if name not in (over or classes)]
        if absent:
            found.setdefault(", ".join(absent), []).append(str(fold))
    parts = [f"{absent} in {_few(folds)}" for absent, folds in found.items()]
    return f"UA and macro-F1 leave out classes without test utterances: {'; '.join(parts)}." * bool(
        parts
    )


def doubts_of(runs: Runs) -> list[str]:
    """Return a sentence per leak: which runs' scores are of speakers that their models know."""
    found: dict[str, list[str]] = {}
    for run in (*runs.runs, *runs.of_dimensions):
        for leak in run.result.split.leaks if run.result.split else ():
            found.setdefault(f"{run.result.protocol}, {run.result.fold}: {leak}", []).append(
                run.folder
            )
    return [f"Protocol {leak}. This was allowed in {_few(names)}." for leak, names in found.items()]


def _few(names: Iterable[Any]) -> str:
    known = [*dict.fromkeys(map(str, names))]
    more = f" and {len(known) - _MOST} more" if len(known) > _MOST else ""
    return ", ".join(known[:_MOST]) + more
