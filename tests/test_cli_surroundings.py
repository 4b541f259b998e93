import datetime
import errno
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from command_lines import REPOSITORY

from spknorm.bench.worker import CellRun, is_running
from spknorm.cli import status, surroundings
from spknorm.config.launcher import Place, place
from spknorm.errors import ConfigError
from spknorm.files import FolderLock
from spknorm.method.optim import world


def run(code, **environment):
    """Return a finished process that runs `code` in a changed environment; None unsets."""
    whole = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={key: value for key, value in whole.items() if value is not None},
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )


@pytest.mark.parametrize("home", [None, "/nonexistent", "/proc"])
def test_without_a_home_the_caches_are_in_a_temporary_folder(home, tmp_path):
    code = (
        "import pathlib\n"
        "import pwd\n"
        "def gone(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = gone\n"
        "from spknorm.cli import surroundings\n"
        "surroundings.make_home_usable()\n"
        "import getpass\n"
        "from spknorm.demo import default_folder\n"
        "print(getpass.getuser(), pathlib.Path.home(), default_folder().parent)\n"
        "import os; print(os.environ['MPLCONFIGDIR'])\n"
    )
    changed = dict.fromkeys(("LOGNAME", "USER", "LNAME", "USERNAME", "SPKNORM_CACHE"))
    ended = run(code, HOME=home, TMPDIR=str(tmp_path), MPLCONFIGDIR=None, **changed)
    assert ended.returncode == 0, ended.stderr
    folder = tmp_path / f"spknorm-{os.geteuid()}"
    first, second = ended.stdout.splitlines()
    name, found_home, cache = first.split()
    assert name == f"user{os.geteuid()}"
    assert found_home == (home if home == "/proc" else str(folder))
    assert cache == str(folder / "spknorm_cache")
    assert second.startswith(str(folder))


def test_a_home_that_can_be_written_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    before = dict(os.environ)
    surroundings.make_home_usable()
    assert dict(os.environ) == before


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_is_warned_of_and_used(code, tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    with FolderLock(tmp_path):
        pass
    [message] = caplog.messages
    assert message == (
        f"The file system of {tmp_path} knows no locks ({os.strerror(code)}): see to it that no "
        "other process uses this folder."
    )


def test_a_bench_runs_on_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell/.bench.lock").touch()
    assert not is_running(tmp_path / "cell")
    assert CellRun([sys.executable, "-c", "print(1)"], tmp_path / "cell", {})() == 0
    assert (tmp_path / "cell/run.log").read_text() == "1\n"


def test_a_bench_s_lock_that_fails_is_told(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fcntl.flock", refuse)
    (tmp_path / ".bench.lock").touch()
    with pytest.raises(ConfigError, match=r"cannot be locked \(Input/output error\)"):
        is_running(tmp_path)


def test_a_lock_that_fails_for_another_reason_is_not_called_in_use(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(ConfigError, match=r"cannot be locked \(Input/output error\)"):
        FolderLock(tmp_path).acquire()


def test_a_working_folder_that_is_gone_is_told_before_anything_is_loaded(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    assert status.exit_status_of(lambda: pytest.fail("begun")) == 2
    assert capsys.readouterr().err == (
        "spknorm: The working folder is gone (No such file or directory). Change to one that is "
        "there (cd).\n"
    )


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_stream_is_none_to_complain_of(closed, tmp_path):
    code = (
        "import os, sys\n"
        "from spknorm.cli import status\n"
        "def command():\n"
        "    number = os.open('x.txt', os.O_WRONLY | os.O_CREAT)\n"
        "    assert number > 2\n"
        "    print('out')\n"
        "    print('err', file=sys.stderr)\n"
        "    return 7\n"
        "sys.exit(status.exit_status_of(command))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        preexec_fn=lambda: os.close(closed), env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    expected = ("" if closed == 1 else "out\n", "" if closed == 2 else "err\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, *expected)
    assert (tmp_path / "x.txt").read_bytes() == b""


@pytest.mark.parametrize(
    "make",
    [
        lambda: Path("/proc/results/figures").mkdir(parents=True),
        lambda: tempfile.mkdtemp(dir="/proc", prefix="results"),
    ],
)
def test_a_folder_where_none_can_be_made_is_one_line(make, capsys):
    assert status.exit_status_of(make) == 2
    assert re.fullmatch(
        r"spknorm: /proc/results\S* cannot be used as a place for files \(No such file or "
        r"directory\)\. Name another folder\.\n",
        capsys.readouterr().err,
    )


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_folder_that_cannot_be_written_is_one_line(code, capsys):
    def command():
        raise OSError(code, os.strerror(code), "/data/probe.json")

    assert status.exit_status_of(command) == 2
    assert capsys.readouterr().err == (
        f"spknorm: /data/probe.json cannot be used ({os.strerror(code)}). Name another folder for "
        "the results, copy this one, or change its permissions.\n"
    )


@pytest.mark.parametrize(
    ("code", "place", "said"),
    [
        (errno.EEXIST, "/a/file", "/a/file cannot be used as a place for files (File exists). "),
        (errno.ENOTDIR, "/a/file/x", "/a/file/x cannot be used as a place for files (Not a dir"),
        (errno.ENAMETOOLONG, "x" * 300, f"{'x' * 300} cannot be used as a place for files (File "),
        (errno.EMFILE, "/x", "This process may open no more files: raise its limit (ulimit -n 10"),
        (errno.EAGAIN, None, "This process may start no more processes or threads: raise its li"),
        (errno.ENOENT, None, "The working folder is gone (No such file or directory). Change to "),
    ],
)
def test_what_the_machine_does_not_give_is_one_line(code, place, said, capsys):
    def command():
        raise OSError(code, os.strerror(code), place)

    assert status.exit_status_of(command) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"spknorm: {said}")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2 without RANK and MASTER_ADDR and MASTER_PORT: "),
        ({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "a"}, "WORLD_SIZE is 2 without MASTER_P"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is `two`, but must be a whole number: unset it if"),
        (
            {"WORLD_SIZE": "2", "RANK": "5", "MASTER_ADDR": "a", "MASTER_PORT": "1"},
            "RANK is 5, but must be from 0 to 1, since WORLD_SIZE is 2: unset both if",
        ),
    ],
)
def test_what_a_launcher_left_over_is_told(variables, message):
    with pytest.raises(ConfigError) as caught:
        place(variables)
    assert str(caught.value).startswith(message)


def test_others_that_never_come_are_told_after_the_join_time(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    left_over = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    for name, value in {**left_over, "MASTER_PORT": str(port)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert datetime.timedelta(minutes=2) == world.JOIN_TIMEOUT
    monkeypatch.setattr(world, "JOIN_TIMEOUT", datetime.timedelta(seconds=2))
    started = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        world.World("cpu")
    assert time.monotonic() - started < 60
    assert str(caught.value).startswith(
        f"WORLD_SIZE is 2, but the other processes did not come to 127.0.0.1:{port} ("
    )


def test_a_rank_without_others_is_alone():
    assert place({"RANK": "3", "SLURM_PROCID": "3", "MASTER_ADDR": "x"}) == Place(0, 1, 0)
    whole = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "a"}
    assert place({**whole, "MASTER_PORT": "1"}) == Place(3, 4, 1)


@pytest.mark.parametrize("command", ["--help", "demo --help", "run-downstream --help"])
def test_a_reader_that_goes_away_is_no_error(command):
    ended = subprocess.run(
        f"{sys.executable} -m spknorm {command} | head -1 > /dev/null; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert ended.stderr == ""
    assert ended.stdout.strip() in ("0", "141")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_file_name_that_is_no_utf_8_is_printed(encoding):
    code = (
        "import os\n"
        "from spknorm.cli.status import exit_status_of\n"
        "exit_status_of(lambda: print(os.fsdecode(b'a\\xff.wav')) or 0)\n"
    )
    whole = {**os.environ, "PYTHONIOENCODING": encoding}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=whole, capture_output=True, check=False, cwd=REPOSITORY
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == (b"a\xff.wav\n" if encoding == "utf-8" else b"a\\udcff.wav\n")
