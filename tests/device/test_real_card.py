"""What only a real GPU shows: numbers, weights, waits. Skipped where there is none.

What can be asked of the CPU it is asked, too, by the same code.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PATHS = [HERE.parents[1], HERE.parents[1] / "benchmarks", HERE.parent]
SEES = "import torch; print(torch.cuda.is_available() and torch.cuda.get_device_capability()[0])"

ROUNDING = 2**-8
"""Of bfloat16, which has 8 bits: half of the distance of two numbers beside each other, at most."""


def environment_of(device):
    """That of a process that sees the GPUs which conftest.py hides, or none."""
    if device == "cpu":
        return dict(os.environ)
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
def answers():
    """What each check of real_card.py found on a device; each device is asked once."""

    @functools.cache
    def of(device):
        paths = [*map(str, PATHS), *filter(None, [os.environ.get("PYTHONPATH")])]
        done = subprocess.run(
            [sys.executable, str(HERE / "real_card.py"), device],
            env={**environment_of(device), "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True, text=True,
        )  # fmt: skip
        found = [json.loads(one) for one in done.stdout.splitlines() if one.startswith('{"check')]
        assert found, done.stderr[-4000:]
        return {one.pop("check"): one for one in found}

    return of


@pytest.fixture
def answer(answers, request):
    """Returns what a check found, on the card unless the test is the CPU's, too."""
    device = getattr(request, "param", "cuda")

    def of(check):
        found = answers(device)[check]
        assert "error" not in found, found["error"]
        return found["answer"]

    return of


CPU = pytest.param("cpu", marks=pytest.mark.slow)
ON_BOTH = pytest.mark.parametrize("answer", [CPU, "cuda"], indirect=True)


@ON_BOTH
def test_packed_features_in_bfloat16_are_those_of_the_cpu_but_for_its_rounding(answer):
    found = answer("features")
    assert found["shape"] == [127, 256]
    assert found["error"] < 8 * ROUNDING  # a few roundings on one another


@ON_BOTH
def test_the_convolution_as_products_is_as_near_to_float64_as_one_rounding_of_each_sum(answer):
    found = answer("convolution")
    ours, theirs = found["ours"], found["torch's"]
    assert ours["y"] < ROUNDING  # each is one sum in float32, rounded once
    assert ours["x"] < 2 * ROUNDING  # of each block, and of what the blocks come to
    assert ours["weight"] < 2**-12  # exact products, summed in float32 alone
    for name in ("y", "x", "weight"):
        assert ours[name] < 2 * theirs[name]


@ON_BOTH
def test_a_run_is_predicted_with_exported_and_audited_as_on_the_cpu(answer):
    found = answer("commands")
    here, there = found["predicted"][0], found["predicted"][-1]
    assert sum(here) == pytest.approx(1.0)
    assert here == pytest.approx(there, abs=1e-2)  # convolutions are rounded to TF32
    assert found["states"] < 1e-2
    assert {"README.md", "model.onnx", "model.safetensors", "normalised.pt"} <= {*found["files"]}
    assert found["the same rows"] and found["rows"] == len(found["accuracies"]) > 10
    assert all(0 <= accuracy <= 1 for accuracy in found["accuracies"])


@ON_BOTH
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
