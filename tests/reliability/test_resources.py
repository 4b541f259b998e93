"""Real full disks, read-only and locked folders, killed helpers."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_runs

from spknorm.errors import CheckpointError, ConfigError
from spknorm.files import FolderLock
from spknorm.runs import checkpoint

SCRIPT = Path(__file__).parent.parent / "tiny_runs.py"


@pytest.fixture
def disk_of(tmp_path):
    """A function that returns a folder on a disk (tmpfs) of so many bytes."""
    folder = tmp_path / "disk"

    def mount(size):
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        return folder if not subprocess.run(command, check=False).returncode else None

    yield mount
    subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


def run_with_small_files(limit, upstream, corpora, tmp_path):
    """Do without the right to mount: a largest file size is a full disk to a process."""
    options = json.dumps({"save_step": 1, "eval_step": 1, "total_steps": 8})
    (tmp_path / "small").mkdir()
    ended = subprocess.run(
        [
            sys.executable,
            str(SCRIPT),
            str(tmp_path / "small"),
            str(upstream),
            str(corpora),
            options,
        ],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 5, ended.stderr
    assert "takes no more data (File too large)" in ended.stderr
    assert not list((tmp_path / "small").glob("states-*.ckpt"))


def size_of(folder, pattern):
    return max(path.stat().st_size for path in folder.glob(pattern))


@pytest.mark.parametrize("share", [0.5, 1.5, 2.5])
@pytest.mark.fault("full disk")
def test_a_full_disk_ends_the_run_with_the_last_good_checkpoint_whole(
    tiny_hubert, tiny_corpora, tmp_path, disk_of, share, undisturbed
):
    """The disk has room for so many checkpoints."""
    options = {"save_step": 1, "eval_step": 1, "total_steps": 8}
    mapping = tiny_runs.settings_of(tiny_corpora, **options)
    whole = undisturbed("TAP", "literal", **options)
    each = size_of(whole, "states-*.ckpt")
    disk = disk_of(int(share * each) + 60_000)
    if disk is None:
        run_with_small_files(int(min(share, 0.9) * each), tiny_hubert, tiny_corpora, tmp_path)
        return
    with pytest.raises(CheckpointError) as ended:
        tiny_runs.train(tiny_hubert, mapping, disk, reads_back=True)
    assert str(ended.value) == (
        f"{disk} takes no more data (No space left on device). What was saved before is whole: "
        "free some space and go on with -a."
    )
    assert not list(disk.glob(".*.tmp"))
    for path in checkpoint.existing(disk):
        checkpoint.read(path)
    subprocess.run(["mount", "-o", "remount,size=50M", str(disk)], check=True)
    tiny_runs.train(tiny_hubert, mapping, disk, resume=True, reads_back=True)
    assert tiny_runs.outcome_of(disk) == tiny_runs.outcome_of(whole)


@pytest.mark.parametrize("room", [0, 300, 3000])
@pytest.mark.fault("full disk")
def test_a_disk_too_full_for_a_log_line_is_told_as_well(
    tiny_hubert, tiny_corpora, tmp_path, disk_of, room, monkeypatch
):
    from spknorm.runner.engine import SpknormRunner

    disk = disk_of("64k")
    if disk is None:
        run_with_small_files(room, tiny_hubert, tiny_corpora, tmp_path)
        return
    log, filler = SpknormRunner._log_training, disk / "filler"

    def fill(self):
        if not filler.exists():
            with filler.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * 512)
                except OSError:
                    file.truncate(max(0, file.tell() - room))
        log(self)

    monkeypatch.setattr(SpknormRunner, "_log_training", fill)
    mapping = tiny_runs.settings_of(tiny_corpora, total_steps=200, eval_step=200, save_step=200)
    with pytest.raises(CheckpointError, match="takes no more data"):
        tiny_runs.train(tiny_hubert, mapping, disk, reads_back=True)


@pytest.mark.fault("folder")
def test_a_read_only_folder_is_refused_before_a_model_is_loaded(tiny_corpora, tmp_path, disk_of):
    disk, reason = disk_of("64k"), "Read-only file system"
    if disk is None:
        disk, reason = tmp_path / "disk", "Permission denied"
        disk.chmod(0o555)
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    started = time.monotonic()
    with pytest.raises(ConfigError) as refused:
        tiny_runs.train("no such upstream", tiny_runs.settings_of(tiny_corpora), disk)
    assert time.monotonic() - started < 5
    assert refused.value.exit_code == 2
    assert str(refused.value) == (
        f"The folder {disk} cannot be written ({reason}). "
        "Choose another with -p, or change its permissions."
    )


LOCKER = """
import sys, time
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from spknorm.files import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.acquire()
print("locked", flush=True)
time.sleep(600)
"""


@pytest.mark.fault("folder")
def test_a_locked_folder_is_refused_and_a_dead_owners_lock_taken_over(
    tiny_hubert, tiny_corpora, tmp_path
):
    root = str(SCRIPT.parent.parent)
    owner = subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(tmp_path), root], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout.readline() == "locked\n"
    mapping = tiny_runs.settings_of(tiny_corpora, total_steps=1)
    with pytest.raises(ConfigError, match=f"is in use by process {owner.pid} on "):
        tiny_runs.train(tiny_hubert, mapping, tmp_path)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    tiny_runs.train(tiny_hubert, mapping, tmp_path)
    assert (tmp_path / "result.json").exists()
    with FolderLock(tmp_path):  # given back at the end
        pass


@pytest.mark.slow
@pytest.mark.fault("killed loader")
@pytest.mark.parametrize("number", [0, 1])
def test_a_killed_data_loading_worker_is_an_error_within_60_s_not_a_hang(
    tiny_hubert, tiny_corpora, tmp_path, number
):
    # In a process of its own: torch raises the error in a signal handler, whatever runs then.
    options = {
        "total_steps": 5000, "eval_step": 5000, "save_step": 5000,
        "expert": {"datarc": {"num_workers": 1, "pre_load": False}},
    }  # fmt: skip
    arguments = [str(tmp_path / "run"), str(tiny_hubert), str(tiny_corpora), json.dumps(options)]
    command = [sys.executable, str(SCRIPT), *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "run" / "metrics.jsonl").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2  # one reads for emotions, one for speakers
        os.kill(int(children[number]), signal.SIGKILL)
        started = time.monotonic()
        try:
            _, told = process.communicate(timeout=55)
        finally:
            process.kill()
    assert time.monotonic() - started < 60
    assert process.returncode not in (0, -signal.SIGKILL)
    assert "A data-loading process died" in told.splitlines()[-1]
