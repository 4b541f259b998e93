"""One thing that was examined, and what was found."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

Status = Literal["ok", "warn", "fail"]


class Check(NamedTuple):
    """A line of the report.

    Attributes:
        name: What was looked at.
        status: `ok`; `warn` for what a run survives; `fail` for what would stop it.
        detail: What was found, and where it is not `ok`, what to do.
    """

    name: str
    status: Status
    detail: str


def status_of(checks: Iterable[Check]) -> Status:
    """Return the worst status of a report."""
    found = {check.status for check in checks}
    if "fail" in found:
        return "fail"
    return "warn" if "warn" in found else "ok"
