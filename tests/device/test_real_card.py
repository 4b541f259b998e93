"""What only a real GPU shows: numbers, weights, waits. Skipped where there is none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PATHS = [HERE.parents[1], HERE.parents[1] / "benchmarks", HERE.parent]
SEES = "import torch; print(torch.cuda.is_available() and torch.cuda.get_device_capability()[0])"


@pytest.fixture(scope="module")
def environment():
    """That of a process that sees the GPUs which conftest.py hides."""
    seen = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    visible = seen.pop("SPKNORM_TESTS_GPUS")
    if visible != "all":
        seen["CUDA_VISIBLE_DEVICES"] = visible
    done = subprocess.run([sys.executable, "-c", SEES], env=seen, capture_output=True, text=True)
    if done.stdout.strip() in ("", "False"):
        pytest.skip("torch sees no GPU here")
    if int(done.stdout) < 8:
        pytest.skip("this GPU does not compute in bfloat16")
    return seen


@pytest.fixture(scope="module")
def answers(environment):
    """What each check of real_card.py found."""
    paths = [*map(str, PATHS), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, str(HERE / "real_card.py")],
        env={**environment, "PYTHONPATH": os.pathsep.join(paths)}, capture_output=True, text=True,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"check')]
    assert lines, done.stderr[-4000:]
    return {line.pop("check"): line for line in lines}


@pytest.fixture
def answer(answers):
    """Returns what a check found."""

    def of(check):
        assert "error" not in answers[check], answers[check]["error"]
        return answers[check]["answer"]

    return of


def test_packed_features_in_bfloat16_are_those_of_the_cpu_but_for_its_rounding(answer):
    found = answer("features")
    assert found["shape"] == [127, 256]
    assert found["error"] < 8 * 2**-8  # a few roundings of bfloat16, of 8 bits, on one another


def test_a_step_of_tap_moves_every_weight_of_the_layers(answer):
    found = answer("step")
    assert (found["moved"], found["finite"]) == (found["of"], True)
    assert found["of"] == 32


def test_the_host_waits_three_times_in_a_step_at_most(answer):
    assert max(len(told) for told in answer("waits")) <= 3


def test_a_resumed_run_is_the_whole_one_bit_for_bit_with_deterministic_algorithms(answer):
    differing, tensors = answer("resumed")
    assert differing == 0 and tensors > 100


def test_recorded_layers_give_what_they_gave_before_with_dropout(answer):
    found = answer("graphs")
    assert found["recorded"] is True
    for name in ("short", "long"):
        assert found[f"{name}, the same"] == [True] * 3
        assert max(found[f"{name}, furthest"]) < 1e-2  # sums in any order, of bfloat16
    assert found["without gradients"] is True
    same, furthest = found["fewer"]  # frames than a recording has, behind which others stood
    assert same is True and furthest < 1e-2


@pytest.mark.parametrize("how", ["at once", "one after the other"])
def test_gradients_of_recorded_passes_add_up(answer, how):
    assert answer("graphs")[how] < 1e-2
