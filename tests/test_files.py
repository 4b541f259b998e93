import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spknorm.corpora.doors import read_list
from spknorm.corpora.tables import text_of
from spknorm.errors import ConfigError, DataError
from spknorm.files import (
    FolderLock,
    atomic_path,
    check_folder,
    own_place,
    read_json,
    sha256_of,
    system_errors,
    write_atomic,
    write_json,
)


def test_a_file_is_the_old_one_until_it_is_the_whole_new_one(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_atomic(path, "old")

    def fails_half_way():
        with atomic_path(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fails_half_way()
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_written_files_have_the_permissions_of_ordinary_ones(tmp_path):
    write_atomic(tmp_path / "a", b"x")
    (tmp_path / "b").write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_equal_values_give_equal_bytes_and_nan_is_refused(tmp_path):
    write_json(tmp_path / "a", {"x": 1, "y": [2.5]})
    write_json(tmp_path / "b", {"y": [2.5], "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_json(tmp_path / "a") == {"x": 1, "y": [2.5]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "c", float("nan"))
    assert not (tmp_path / "c").exists()


def test_bad_json_names_the_file(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"result\.json is not valid JSON"):
        read_json(path)


def test_the_hash_is_that_of_the_content(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(path) == sha256_of(b"abc") == known


def test_a_folder_in_use_is_refused_and_a_dead_owners_lock_is_free(tmp_path):
    hold = "import sys; from spknorm.files import FolderLock as L; lock = L(sys.argv[1]); "
    command = [
        sys.executable,
        "-c",
        hold + "lock.acquire(); print('held', flush=True); input()",
        str(tmp_path),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=f"is in use by process {owner.pid} on "):
            FolderLock(tmp_path).acquire()
        owner.kill()
    with FolderLock(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()


def test_a_killed_owners_lock_is_free_though_its_processes_outlive_it(tmp_path):
    hold = (
        "import os, sys, time; from spknorm.files import FolderLock as L\n"
        "lock = L(sys.argv[1]); lock.acquire()\n"
        "if os.fork(): time.sleep(60)\n"
        "else: print(os.getpid(), flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        left = int(owner.stdout.readline())
        try:
            with pytest.raises(ConfigError, match=f"is in use by process {owner.pid} on "):
                FolderLock(tmp_path).acquire()
            owner.kill()
            owner.wait()
            os.kill(left, 0)  # is there
            with FolderLock(tmp_path):
                pass
        finally:
            os.kill(left, signal.SIGKILL)


def test_what_is_made_of_another_s_folder_goes_into_a_folder_of_one_s_own(tmp_path, monkeypatch):
    first, second = tmp_path / "a/run", tmp_path / "b/run"
    for folder in (first, second):
        folder.mkdir(parents=True)
        assert own_place(folder, "audit") == folder
    monkeypatch.setattr("os.access", lambda path, mode: False)
    places = [own_place(folder, "audit") for folder in (first, second)]
    assert len(set(places)) == 2
    for place in places:
        assert place.parent == Path("result/audit")
        assert place.name.startswith("run-")
    monkeypatch.chdir(first)
    assert own_place(Path(), "audit") == places[0]
    assert own_place(Path("new"), "audit") == Path("new")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        FolderLock(tmp_path / "file" / "folder").acquire()


def test_a_pointer_in_place_of_a_table_or_of_json_is_named(tmp_path):
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'1' * 64}\nsize 9\n"
    said = "is a pointer of git-lfs, not the file itself: run `git lfs pull` where it was cloned."
    for name, read in (
        ("result.json", read_json),
        ("list.csv", read_list),
        ("list.jsonl", read_list),
        ("labels.csv", text_of),
        ("iden_split.txt", text_of),
    ):
        (tmp_path / name).write_text(pointer)
        with pytest.raises((ConfigError, DataError), match="is a pointer of git-lfs") as caught:
            read(tmp_path / name)
        assert str(caught.value).endswith(f"{name} {said}")


def test_a_full_disk_is_the_system_s_error_whoever_wraps_it(tmp_path):
    def hidden():
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "x")
        except OSError as error:
            raise RuntimeError("unexpected pos 128 vs 22") from error

    def spoken():
        raise ValueError("Error while serializing: I/O error: File too large (os error 27)")

    for fail, number in ((hidden, errno.ENOSPC), (spoken, errno.EFBIG)):
        with pytest.raises(OSError, match=r"x|model") as error, system_errors(tmp_path / "model"):
            fail()
        assert error.value.errno == number
    with pytest.raises(ValueError, match="another"), system_errors(tmp_path):
        raise ValueError("another")


def test_a_write_that_fails_says_into_which_file(tmp_path):
    with pytest.raises(OSError, match="No space") as error, atomic_path(tmp_path / "a.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert error.value.filename == str(tmp_path / "a.csv")
    assert [*tmp_path.iterdir()] == []


def test_a_folder_and_a_place_that_holds_no_files_are_no_targets(tmp_path):
    with pytest.raises(IsADirectoryError, match="it is a folder"), atomic_path(tmp_path):
        pass
    with pytest.raises(OSError, match="no file can be made there"), atomic_path(Path("/proc/x")):
        pass
    assert [*tmp_path.iterdir()] == []


def test_a_device_or_a_pipe_is_written_into_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    (tmp_path / "link").symlink_to(pipe)
    for path in (pipe, tmp_path / "link"):
        write_atomic(path, "all of it")
        assert os.read(reader, 100) == b"all of it"
    os.close(reader)
    assert pipe.is_fifo()
    assert (tmp_path / "link").is_symlink()
    with pytest.raises(OSError, match="No space left on device"):
        write_atomic(Path("/dev/full"), "x")
    assert Path("/dev/full").is_char_device()


def test_a_place_is_looked_at_before_anything_is_computed_for_it(tmp_path):
    (tmp_path / "file").write_text("")
    check_folder(tmp_path / "new" / "newer")
    assert not (tmp_path / "new").exists()
    for place in ("file", "file/new/newer"):
        with pytest.raises(NotADirectoryError) as error:
            check_folder(tmp_path / place)
        assert error.value.filename == str(tmp_path / "file")
    (tmp_path / "gone").symlink_to("nowhere")
    with pytest.raises(NotADirectoryError):
        check_folder(tmp_path / "gone")
