"""What can be known before a run: machine, corpora and the run's own answer, returned as data.

machine.py looks at software, device and disk, sound.py at corpora,
run.py builds what a run trains on.
"""

import dataclasses
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from spknorm.schema import TaskConfig

Status = Literal["ok", "warn", "fail"]


class Check(NamedTuple):
    """A line of the report: what was looked at, and what was found.

    The status is `ok`, `warn` for what a run survives, `fail` for what would stop it; where it is
    not `ok`, the detail also says what to do.
    """

    name: str
    status: Status
    detail: str


def status_of(checks: Iterable[Check]) -> Status:
    """Return the worst status of a report."""
    found = {check.status for check in checks}
    return "fail" if "fail" in found else "warn" if "warn" in found else "ok"


def examine(
    config: "TaskConfig",
    *,
    folder: Path | str,
    audio: bool = False,
    upstream: str | None = None,
    frozen: bool = False,
) -> list[Check]:
    """Examine everything that a run with this configuration needs, and change nothing.

    Args:
        config: The run's; its corpora, fold and streams are those that the run would make.
        folder: Where results are to go.
        audio: Decode every file to its end, which finds NaN, damage, silence and clipping;
            otherwise headers alone are read.
        upstream: Its name on s3prl's hub, from which disk, memory and cache follow.
        frozen: Whether it is frozen.

    Returns:
        The checks in the order of a report, no matter what is wrong.
    """
    from spknorm.doctor.machine import check_machine, check_precision
    from spknorm.doctor.run import check_run
    from spknorm.doctor.sound import check_corpus

    expert = config.downstream_expert
    data = dataclasses.replace(expert.datarc, test_fold=expert.datarc.test_fold or "fold1")
    expert = dataclasses.replace(expert, datarc=data)
    config = dataclasses.replace(config, downstream_expert=expert)
    checks = check_machine(Path(folder))
    if all(check.status != "fail" for check in checks if check.name in ("torch", "device")):
        checks += check_precision(config.runner)
    with tempfile.TemporaryDirectory() as work_dir:
        corpora = check_corpus(expert, "emotion", audio=audio)
        if expert.spknorm.strategy != "none" or expert.spknorm.erasure == "leace":
            corpora += check_corpus(expert, "speaker", audio=audio)
        checks += corpora
        if status_of(corpora) != "fail":
            checks += check_run(
                config,
                work_dir=Path(work_dir),
                folder=Path(folder),
                upstream=upstream,
                frozen=frozen,
            )
    return checks
