"""Types every command of docs/messages.md, and compares status and text with what it quotes.

All inputs are made in a temporary folder, from nothing but this repository (and ffmpeg, for
compressed sound). One line per command that differs; the exit status is 1 if any does. Commands of
another user run as uid 65534 where this one is root, which may then read what root may and write
nothing of it; otherwise as the present user, on an experiment without leave to write.

    python benchmarks/messages.py                       # all, two at a time: some ten minutes
    python benchmarks/messages.py --only predict bench  # commands with one of these texts
    python benchmarks/messages.py --work FOLDER         # inputs are kept, what was the same is not
                                                        # typed again
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from typed.inputs import Inputs
from typed.page import Entry, entries

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "messages.md"
SECONDS = 300
_SETPRIV = (
    "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps +dac_read_search "
    "--ambient-caps +dac_read_search "
)
_LOCKS: dict[str, threading.Lock] = defaultdict(threading.Lock)


def environment(work: Path) -> dict[str, str]:
    """Return what commands are typed in: this environment's programs, caches in `work`."""
    kept = {k: v for k, v in os.environ.items() if not re.match(r"SPKNORM_|SLURM_|\w+_ROOT$", k)}
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {
        **kept,
        "PATH": programs,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "SPKNORM_CACHE": str(work / "cache"),
        "TMPDIR": str(work / "tmp"),
        "IEMOCAP_ROOT": str(work / "corpora" / "iemocap"),
        "VOXCELEB1_ROOT": str(work / "corpora" / "voxceleb1"),
    }


def preamble() -> str:
    """Return bash's settings: a pipe's status is its first failure's; `nobody` is another user."""
    other = "env -u HOME -u SPKNORM_CACHE -u IEMOCAP_ROOT -u VOXCELEB1_ROOT"
    prefix = _SETPRIV if os.geteuid() == 0 else ""
    return f'set -o pipefail; nobody() {{ {prefix}{other} "$@"; }}\n'


def alone(entry: Entry) -> threading.Lock:
    """Return what keeps two commands apart: of one experiment, or of the other user.

    A folder has one run at a time, and the processes of a user are counted together.
    """
    folder = re.search(r" -p (\S+)", entry.typed())
    if "nobody" in entry.command:
        return _LOCKS["nobody"]
    return _LOCKS[folder[1]] if folder else threading.Lock()


def type_it(entry: Entry, work: Path) -> tuple[int | str, str]:
    """Return the exit status and what was said, the error output first."""
    with alone(entry):
        for own in re.findall(r"\bruns/[\w]+", entry.typed()):  # of an earlier time in this folder
            shutil.rmtree(work / own, ignore_errors=True)
        try:
            done = subprocess.run(
                ["bash", "-c", preamble() + entry.typed()],
                cwd=work,
                env=environment(work),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            return "timeout", f"no end within {SECONDS} s"
    return done.returncode, (done.stderr + done.stdout).decode("utf-8", "backslashreplace")


def reason_not_to(entry: Entry) -> str | None:
    """Return why a command cannot be typed on this machine."""
    if "nobody" in entry.command and os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "no setpriv (util-linux), to become another user"
    if re.search(r"\b(small|full)\b(?<!/full)", entry.command) and os.geteuid() != 0:
        return "only root may mount a small file system"
    programs = [one for one in ("ffmpeg", "prlimit") if one in entry.command]
    missing = [one for one in programs if shutil.which(one) is None]
    return f"no {missing[0]}" if missing else None


def compare(entry: Entry, work: Path) -> dict[str, object]:
    """Type one command; print what differs and return it as a record."""
    began = time.monotonic()
    status, text = type_it(entry, work)
    lacks = entry.lacks(text)
    same = status == entry.status and lacks is None
    record = {"command": entry.command, "answer": entry.answer, "same": same}
    if not same:
        print(
            f"{entry.number} differs: $ {entry.typed()}\n   status {entry.status} quoted, {status} "
            f"given; lacks: {lacks}\n   answer: {text[-1500:].strip()}",
            flush=True,
        )
    return {**record, "seconds": round(time.monotonic() - began, 1)}


def known(log: Path) -> set[tuple[str, str]]:
    """Return the commands and answers that were the same when typed in this folder before."""
    lines = log.read_text().splitlines() if log.is_file() else []
    records = [json.loads(line) for line in lines]
    return {(one["command"], one["answer"]) for one in records if one["same"]}


def summary(num: int, same: int, differ: Iterable[int], not_typed: dict[int, str]) -> str:
    """Return the last line."""
    return f"typed {num}, same {same}, differ {list(differ)}, not typed {not_typed or 'none'}"


def main() -> int:
    """Make the inputs that the chosen commands name, type them, and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[""], help="texts, one of which is in it")
    parser.add_argument("--work", type=Path, help="a folder to keep; none: a temporary one")
    parser.add_argument("--jobs", type=int, default=2)
    flags = parser.parse_args()
    work = (flags.work or Path(tempfile.mkdtemp(prefix="messages-"))).resolve()
    chosen = [
        one
        for one in entries(PAGE)
        if any(text in one.command or text == str(one.number) for text in flags.only)
    ]
    log = work / "typed.jsonl"
    before = known(log)
    todo = [one for one in chosen if (one.command, one.answer) not in before]
    not_typed = {one.number: why for one in todo if (why := reason_not_to(one))}
    inputs = Inputs(work, environment(work))
    for one in todo:
        if one.number not in not_typed and (why := inputs.make_for(one.typed())):
            not_typed[one.number] = why
    todo = [one for one in todo if one.number not in not_typed]
    differ = []
    with ThreadPoolExecutor(flags.jobs) as pool, log.open("a") as stream:
        for one, record in zip(todo, pool.map(lambda e: compare(e, work), todo), strict=True):
            stream.write(json.dumps(record) + "\n")
            stream.flush()
            if not record["same"]:
                differ.append(one.number)
    inputs.close()
    if flags.work is None:
        shutil.rmtree(work, ignore_errors=True)
    num = len(chosen) - len(not_typed)
    print(summary(num, num - len(differ), differ, not_typed))
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
