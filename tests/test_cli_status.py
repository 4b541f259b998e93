import errno

import pytest

from spknorm.cli import (
    status,
)
from spknorm.errors import USER_ERRORS


def test_a_full_disk_ends_with_one_text(capsys):
    def command():
        raise OSError(errno.ENOSPC, "No space left on device", "/data/x")

    assert status.exit_status_of(command) == 5
    told = "spknorm: /data/x takes no more data (No space left on device).\n"
    assert capsys.readouterr().err == told

    def other():
        raise OSError(errno.EIO, "no")

    with pytest.raises(OSError, match="no"):
        status.exit_status_of(other)


@pytest.mark.parametrize("error", USER_ERRORS)
def test_a_user_s_error_ends_with_its_status(error, capsys):
    def command():
        raise error("what happened")

    assert status.exit_status_of(command) == error.exit_code
    assert capsys.readouterr().err == "spknorm: what happened\n"


def test_any_other_error_keeps_its_traceback():
    def command():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        status.exit_status_of(command)


def test_an_interrupted_command_ends_as_the_shell_says():
    def command():
        raise KeyboardInterrupt

    assert status.exit_status_of(command) == 130


def test_a_data_loading_process_of_s3prl_that_died_is_told(capsys):
    def command():
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    assert status.exit_status_of(command) == 2
    assert "A data-loading process died" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [RuntimeError("can't start new thread"), BlockingIOError(errno.EAGAIN, "no more")],
)
def test_too_few_threads_or_processes_are_told(error, capsys):
    def command():
        raise error

    assert status.exit_status_of(command) == 2
    assert capsys.readouterr().err == (
        "spknorm: This process may start no more processes or threads: raise its limit (ulimit "
        "-u), or set num_workers to 0 and OMP_NUM_THREADS to 1 "
        f"({'no more' if isinstance(error, OSError) else error}).\n"
    )


def test_memory_that_runs_out_without_a_word_has_no_empty_brackets(capsys):
    def command():
        raise MemoryError

    assert status.exit_status_of(command) == 2
    assert capsys.readouterr().err.startswith("spknorm: Memory ran out. Take a device with more ")
