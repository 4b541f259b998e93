"""kill -9 on a real Slurm, with accounting (sacct) and without: the bench ends and says why."""

import contextlib
import os
import re
import signal

import pytest
from benches import Running, experiment, pids, slow, started

pytestmark = [pytest.mark.slow, pytest.mark.slurm]


@pytest.fixture(scope="module")
def accounting_slurm(tmp_path_factory):
    yield from started(tmp_path_factory, accounting=True, port=26860)


@pytest.fixture(params=["plain_slurm", "accounting_slurm"])
def any_slurm(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("what", ["the run", "the whole step"])
@pytest.mark.fault("Slurm: kill -9")
def test_a_kill_is_told_with_and_without_accounting(any_slurm, cache, tmp_path, monkeypatch, what):
    monkeypatch.setenv("SLURM_CONF", any_slurm.environment["SLURM_CONF"])
    path = experiment(tmp_path, cache, "kind: slurm, gpus: 0")
    running = Running(path, tmp_path / "out", slow(0.5))
    running.until_it_trains()
    runs = pids("slow_run.py", str(running.folder()))
    steps = pids("submitit.core._submit", str(tmp_path)) if what != "the run" else []
    for sent in (signal.SIGSTOP, signal.SIGKILL):  # none may tell of another's end
        for number in [*steps, *runs]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, sent)
    (failed,) = running.wait().failed
    if what == "the run":
        assert failed.error.startswith("The run was killed by SIGKILL, as the system does where")
    else:
        assert re.search(
            r"killed by SIGKILL|task 0: Killed|STEP .* CANCELLED|said nothing", failed.error
        )
    assert ".jobs/" in failed.error
