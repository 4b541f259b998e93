import argparse
import errno
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from spknorm.errors import CheckpointError, MissingError
from spknorm.runs import checkpoint


def states(step, **more):
    weights = torch.arange(1000, dtype=torch.float32) + step
    return {
        "Step": step,
        "Args": argparse.Namespace(seed=1),
        "Config": {"runner": {"total_steps": 9}},
        "Downstream": {"weights": weights},
        **more,
    }


def save(folder, *steps):
    for step in steps:
        checkpoint.save(folder / f"states-{step}.ckpt", states(step))


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def middle_of_the_weights(path):
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda item: item.file_size)
    return largest.header_offset + 2000


def test_what_was_saved_is_read_back(tmp_path):
    save(tmp_path, 3)
    found = checkpoint.read(tmp_path / "states-3.ckpt")
    assert found["Args"].seed == 1
    assert torch.equal(found["Downstream"]["weights"], states(3)["Downstream"]["weights"])
    assert [path.name for path in tmp_path.iterdir()] == ["states-3.ckpt"]


def test_the_newest_checkpoint_is_found_by_number_not_by_name(tmp_path):
    save(tmp_path, 9, 10, 100)
    path, found = checkpoint.latest(tmp_path)
    assert (path.name, found["Step"]) == ("states-100.ckpt", 100)


def test_the_newest_checkpoint_is_read_once(tmp_path, monkeypatch):
    save(tmp_path, 9, 10)
    load, loaded = checkpoint.load_weights, []

    def counted(path, **options):
        loaded.append(path.name)
        return load(path, **options)

    monkeypatch.setattr(checkpoint, "load_weights", counted)
    checkpoint.latest(tmp_path)
    assert loaded == ["states-10.ckpt"]


@pytest.mark.fault("damaged checkpoint")
def test_torch_itself_reads_a_flipped_bit_without_a_word_but_we_do_not(tmp_path):
    save(tmp_path, 1)
    path = tmp_path / "states-1.ckpt"
    flip(path, middle_of_the_weights(path))
    wrong = torch.load(path, weights_only=True)["Downstream"]["weights"]
    assert not torch.equal(wrong, states(1)["Downstream"]["weights"])
    with pytest.raises(CheckpointError, match=r"states-1\.ckpt is damaged \(checksum of "):
        checkpoint.read(path)


@pytest.mark.fault("damaged checkpoint")
def test_no_flipped_bit_gives_other_weights(tmp_path):
    save(tmp_path, 1)
    path = tmp_path / "states-1.ckpt"
    content, expected = path.read_bytes(), states(1)["Downstream"]["weights"]
    noticed = 0
    for place in np.random.default_rng(0).integers(len(content), size=300):
        flip(path, int(place))
        try:
            assert torch.equal(checkpoint.read(path)["Downstream"]["weights"], expected)
        except CheckpointError:
            noticed += 1
        path.write_bytes(content)
    assert noticed > 250


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.fault("damaged checkpoint")
def test_a_truncated_newest_one_is_named_and_the_one_before_used(tmp_path, caplog, share):
    save(tmp_path, 1, 2)
    newest = tmp_path / "states-2.ckpt"
    newest.write_bytes(newest.read_bytes()[: int(share * newest.stat().st_size)])
    path, found = checkpoint.latest(tmp_path)
    assert (path.name, found["Step"]) == ("states-1.ckpt", 1)
    assert f"The checkpoint {newest} is damaged (" in caplog.text
    assert "The one before, states-1.ckpt, is used." in caplog.text


@pytest.mark.fault("damaged checkpoint")
def test_the_best_one_is_used_when_it_is_newer_than_what_is_left(tmp_path):
    save(tmp_path, 1, 3)
    checkpoint.save(tmp_path / checkpoint.BEST, states(2))
    (tmp_path / "states-3.ckpt").write_bytes(b"")
    assert checkpoint.latest(tmp_path)[0].name == checkpoint.BEST


@pytest.mark.fault("damaged checkpoint")
def test_none_usable_says_what_to_do(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "states-1.ckpt").write_bytes(b"PK")
    with pytest.raises(CheckpointError) as ended:
        checkpoint.latest(tmp_path)
    assert ended.value.exit_code == 5
    assert str(ended.value) == (
        f"No checkpoint in {tmp_path} is usable, so the run cannot go on. The checkpoint "
        f"{tmp_path}/states-1.ckpt is damaged (File is not a zip file). Put a copy back, or start "
        "again in another folder (-n or -p)."
    )


def test_no_checkpoint_at_all_is_another_error(tmp_path):
    with pytest.raises(MissingError, match="There is no checkpoint in"):
        checkpoint.latest(tmp_path)
    with pytest.raises(MissingError, match=r"There is no checkpoint .*states-7"):
        checkpoint.read(tmp_path / "states-7.ckpt")


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.fault("damaged checkpoint")
def test_code_in_a_checkpoint_is_not_run(tmp_path):
    torch.save(states(1, Extra=Canary(tmp_path / "canary")), tmp_path / "states-1.ckpt")
    with pytest.raises(CheckpointError, match="it was not loaded, since other content could run"):
        checkpoint.read(tmp_path / "states-1.ckpt")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("content", [[1, 2], {"weights": 1}])
@pytest.mark.fault("damaged checkpoint")
def test_other_content_is_no_checkpoint(tmp_path, content):
    torch.save(content, tmp_path / "states-1.ckpt")
    with pytest.raises(CheckpointError, match="is not a checkpoint of s3prl: it lacks Step, Args"):
        checkpoint.read(tmp_path / "states-1.ckpt")


def test_rotation_keeps_the_newest_and_drops_an_abandoned_future(tmp_path):
    save(tmp_path, 10, 20, 30, 90)
    checkpoint.rotate(tmp_path, step=30, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["states-20.ckpt", "states-30.ckpt"]


def test_arguments_become_plain():
    args = checkpoint.plain_args(argparse.Namespace(path=Path("a"), seed=1, none=None))
    assert vars(args) == {"path": "a", "seed": 1, "none": None}


@pytest.mark.fault("full disk")
def test_a_failed_write_leaves_the_old_one_and_nothing_else(tmp_path, monkeypatch):
    save(tmp_path, 1)
    before = (tmp_path / "states-1.ckpt").read_bytes()

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(CheckpointError) as ended:
        checkpoint.save(tmp_path / "states-1.ckpt", states(1))
    assert str(ended.value) == (
        f"{tmp_path} takes no more data (No space left on device). What was saved before is "
        "whole: free some space and go on with -a."
    )
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


@pytest.mark.fault("full disk")
def test_a_write_that_did_not_arrive_whole_does_not_replace_the_old_one(tmp_path, monkeypatch):
    save(tmp_path, 1)
    before, real = (tmp_path / "states-1.ckpt").read_bytes(), torch.save

    def damaged(content, file):
        real(content, file)
        file.seek(middle_of_the_weights(tmp_path / "states-1.ckpt"))
        file.write(b"\xff\xfe\xfd")

    monkeypatch.setattr(torch, "save", damaged)
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.save(tmp_path / "states-1.ckpt", states(2))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 64 kB: a tmpfs where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    yield folder if mounted else None
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.fault("full disk")
def test_a_really_full_disk_is_told_and_the_old_one_stands(small_disk):
    if small_disk is None:  # no right to mount: the kernel's own full device does as well
        with pytest.raises(OSError, match="No space left"), Path("/dev/full").open("wb", 0) as full:
            full.write(b"x")
        return
    save(small_disk, 1)
    large = states(2, Upstream={"weights": torch.zeros(100_000)})
    with pytest.raises(CheckpointError, match=r"takes no more data \(No space left on device"):
        checkpoint.save(small_disk / "states-2.ckpt", large)
    assert [path.name for path in small_disk.iterdir()] == ["states-1.ckpt"]
    assert checkpoint.latest(small_disk)[1]["Step"] == 1
