"""What has to be said of a table's folds: whose they are, what leaks, and what UA is a mean of.

Before `score_tables.py` in the report; it is in the result files (`split`, `test.ua_over`).
"""

from typing import TYPE_CHECKING

from spknorm.protocols import TITLES, Splitting
from spknorm.report.words import sentence

if TYPE_CHECKING:
    from pandas import DataFrame


def title_of(protocol: str, rows: "DataFrame") -> str:
    """Return a table's title: the protocol in words and, where test speakers train, that."""
    words = f"Protocol {protocol}: {TITLES.get(protocol, protocol)}"
    unseen = {one.unseen for one in splittings(rows)} - {"speakers"}
    words += f", unseen {' and '.join(sorted(unseen))}" if unseen else ""
    leaks = [*dict.fromkeys(leak for one in splittings(rows) for leak in one.leaks)]
    more = f" and {len(leaks) - 1} more" if len(leaks) > 1 else ""
    return f"{words} [LEAKS: {leaks[0].partition(':')[0]}{more}]" if leaks else words


def splittings(rows: "DataFrame") -> list[Splitting]:
    """Return how the runs were split; runs of earlier versions do not say."""
    return [one for one in rows.get("split", []) if isinstance(one, Splitting)]


def classes_note(rows: "DataFrame") -> str:
    """Return over which classes UA is a mean, where that is not all of them in all runs."""
    found: dict[str, list[str]] = {}
    if "ua_over" in rows:
        for fold, classes, over in zip(rows["fold"], rows["classes"], rows["ua_over"], strict=True):
            if absent := [name for name in classes if name not in (over or classes)]:
                found.setdefault(", ".join(absent), []).append(str(fold))
    return sentence("classes-left-out", found=found) if found else ""
