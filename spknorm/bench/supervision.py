"""A cell's command inside its Slurm job: asked to save before the job ends, then put back.

Under `worker.py`. What submitit does by itself is not enough: Slurm signals every process of a
job's step, so that the training dies of the signal that is meant for submitit; and whatever a call
returns, submitit takes for a result. Here the command ignores that signal and is sent SIGTERM, upon
which it saves; it is waited for; and a run that was broken off ends its job without a result, so
that Slurm's word counts: it goes on, or the bench says why not.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from spknorm.config.launcher import requeue_job
from spknorm.errors import ConfigError
from spknorm.files import read_json, write_json

TIME_SIGNAL = signal.SIGUSR2
"""What submitit has Slurm send ahead of the time limit."""
_ASK_AGAIN_SECONDS = 5
_MOST_IN_VAIN = 10
_TIMEOUTS = ".bench.timeouts"
_PORTS = (20000, 20000)  # the first, and how many
_HANDLED = (TIME_SIGNAL, signal.SIGTERM)
Process = subprocess.Popen[bytes]


def supervise(
    start: Callable[..., Process],
    command: Sequence[str],
    folder: Path,
    *,
    processes: int,
    requeue: bool,
) -> int:
    """Run a command in this Slurm job; return 0 once it has ended well.

    The command, of `python -m`, is started `processes` times on each node, where `start` takes it
    and further options of Popen; its result is in `folder`.

    Raises:
        SystemExit: The command was broken off or failed; the job ends without a result.
    """
    nodes = int(os.environ.get("SLURM_JOB_NUM_NODES", "1"))
    spread = nodes * processes > 1
    if spread:
        command = _torchrun(command, nodes, processes)
    with _Stop() as stop:
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        stop.process = start(
            command,
            start_new_session=True,  # so that torchrun's processes are asked, too
            preexec_fn=_deaf if spread else _deaf_to_time,
        )
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
        status = _wait(stop.process, stop)
    leads = os.environ.get("SLURM_PROCID", "0") == "0"
    if (folder / "result.json").is_file():  # be it that the signal came as it ended
        return 0
    if stop.number == TIME_SIGNAL and leads:
        _put_back(folder, requeue=requeue)
    if stop.number:
        raise SystemExit(128 + stop.number)
    if status < 0:
        raise SystemExit(
            f"spknorm: The run was killed by {signal.Signals(-status).name}, as the system does "
            "where memory runs out (executor.mem_gb)."
            if status == -signal.SIGKILL
            else f"spknorm: The run was ended by {signal.Signals(-status).name}."
        )
    if status:
        raise SystemExit(status)
    return 0


class _Stop:
    """While entered, passes the first signal that ends the job on to the command, as SIGTERM."""

    def __init__(self) -> None:
        self.number = 0
        self.process: Process | None = None

    def __enter__(self) -> "_Stop":
        self._before = {number: signal.signal(number, self._receive) for number in _HANDLED}
        return self

    def __exit__(self, *_: object) -> None:
        if not self.number:  # else the job's end goes on undisturbed
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.number = self.number or number
        self.ask()

    def ask(self) -> None:
        """Send the command SIGTERM: under Slurm a run takes it as often as it comes."""
        if self.number and self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)


def _wait(process: Process, stop: _Stop) -> int:
    """Wait for the command; one that was asked to end before it could hear is asked again."""
    while True:
        try:
            return process.wait(_ASK_AGAIN_SECONDS)
        except subprocess.TimeoutExpired:
            stop.ask()


def _put_back(folder: Path, *, requeue: bool) -> None:
    """Put the job back into the queue; say why where that cannot be."""
    if not requeue:
        _end("The run reached its time limit; what it saved stands, and the same command goes on.")
    newest = max((path.stat().st_mtime_ns for path in folder.glob("*.ckpt")), default=0)
    try:
        before = read_json(folder / _TIMEOUTS)
        times = int(before["times"]) + 1 if before["newest"] == newest else 1
    except (ConfigError, OSError, KeyError, TypeError, ValueError):
        times = 1
    if times > _MOST_IN_VAIN:
        (folder / _TIMEOUTS).unlink(missing_ok=True)
        _end(
            f"The run reached its time limit {times} times without a new checkpoint: raise "
            "executor.timeout_min, or lower runner.save_step."
        )
    write_json(folder / _TIMEOUTS, {"newest": newest, "times": times})
    try:
        job = requeue_job()
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()
        _end(f"The run was saved, but its job could not be put back into the queue: {said}")
    sys.stderr.write(f"Job {job} was saved and put back into the queue.\n")


def _end(text: str) -> NoReturn:
    raise SystemExit(f"spknorm: {text}")


def _torchrun(command: Sequence[str], nodes: int, processes: int) -> list[str]:
    """Return the command, `python -m MODULE ...`, started on each node by torchrun."""
    python, flag, *rest = command
    assert flag == "-m"
    launcher = ["env", "TORCHELASTIC_SIGNALS_TO_HANDLE=SIGHUP", python]
    launcher += ["-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    if nodes == 1:
        return [*launcher, "--standalone", "-m", *rest]
    port = _PORTS[0] + int(os.environ["SLURM_JOB_ID"]) % _PORTS[1]
    launcher += [f"--nnodes={nodes}", f"--node-rank={os.environ['SLURM_NODEID']}"]
    launcher += [f"--master-addr={_first_node()}", f"--master-port={port}"]
    return [*launcher, "-m", *rest]


def _first_node() -> str:
    """Return the address of the job's first node."""
    asked = ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]]
    name = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0]
    asked = ["scontrol", "show", "node", name, "--oneliner"]
    shown = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    fields = dict(part.split("=", 1) for part in shown.split() if "=" in part)
    return fields.get("NodeAddr", name)


def _deaf_to_time() -> None:
    """Leave the signal ahead of the time limit to the supervisor (in the child, before it runs)."""
    signal.signal(TIME_SIGNAL, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)


def _deaf() -> None:
    """The same for torchrun, which would end processes that have not saved yet after 30 s."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _deaf_to_time()
