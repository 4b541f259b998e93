"""The benchmarks of a GPU, at tiny size: the first real one must not be the first to run them."""

import json
import os
import subprocess
import sys

import pretended
import pytest

SIZES = ("Large", "Base")
AT_START = "import stand_ins\n_kept = stand_ins.install()\n"


@pytest.fixture(scope="module")
def figures(start, tmp_path_factory):
    """What `--only gpu --quick` prints, by name."""
    folder = tmp_path_factory.mktemp("start")
    (folder / "sitecustomize.py").write_text(AT_START)  # what cuDNN would compute
    paths = os.pathsep.join(map(str, (folder, pretended.HERE, pretended.ROOT)))
    done = start(
        "benchmarks/run.py", "--only", "gpu", "--quick", "--folder", str(folder),
        cards=2, PYTHONPATH=paths,  # one alone is measured
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["name"]: line for line in lines}


@pytest.mark.slow
def test_every_part_of_the_benchmark_runs_on_a_gpu(figures):
    missing = {name: line["note"] for name, line in figures.items() if line["value"] is None}
    unseen = [f"{size}, {step}, kernels of a step" for size in SIZES for step in ("none", "TAP")]
    assert missing == dict.fromkeys(unseen, "the profiler saw none")  # it asks the driver
    for size in SIZES:
        names = [name for name in figures if name.startswith(size)]
        assert len(names) == 34
    assert "bfloat16 matrix rate" in figures
    assert "features of a frozen HuBERT Base, seconds of audio per second" in figures
    assert "a linear speaker probe on them" in figures


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_torch_itself_sees_one_wait_in_a_step_and_two_in_an_adversary_s(figures, size):
    waits = {name: figures[f"{size}, waits of a step, {name}"] for name in ("none", "SNP", "TAP")}
    assert {name: line["value"] for name, line in waits.items()} == {"none": 1, "SNP": 2, "TAP": 2}


@pytest.mark.slow
def test_without_a_gpu_it_is_one_line(start, tmp_path):
    no_driver = "from spknorm.config import device\ndevice._SIGNS_OF_A_DRIVER = ()\n"
    (tmp_path / "sitecustomize.py").write_text(no_driver)
    paths = os.pathsep.join(map(str, (tmp_path, pretended.ROOT)))
    done = start("benchmarks/run.py", "--only", "gpu", refusal=100, PYTHONPATH=paths)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Nothing was measured on a GPU: there is no GPU.\n"


@pytest.mark.slow
def test_the_table_of_counts_has_the_commit_before_this_work_beside_today():
    command = [sys.executable, "benchmarks/counted.py", "--only", "none, bf16"]
    done = subprocess.run(command, cwd=pretended.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    cells = [cell.strip() for cell in done.stdout.splitlines()[-1].split("|")[1:-1]]
    name, before, now, waits_before, waits, *_ = cells
    assert (name, waits) == ("none, bf16", "1")
    if "is not in this clone's history" not in done.stdout:
        assert (before, waits_before) == ("3535", "74")
    assert int(now) < 1300
