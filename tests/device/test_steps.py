"""What a training step asks of a GPU: counted on a pretended device, in processes of their own."""

import pytest

SHORT, CROPS = [0.5, 0.8], [0.7, 0.7]
COMBINATIONS = [
    {"strategy": strategy, "update": update, "precision": precision}
    for strategy, update in (
        ("none", "literal"),
        ("SNP", "literal"),
        ("SNP", "relative"),
        ("SNP", "adaptive"),
        ("SNP", "reversal"),
        ("TAP", "literal"),
        ("TAP", "relative"),
        ("TAP", "adaptive"),
        ("TAP", "reversal"),
    )
    for precision in ("fp32", "bf16", "fp16")
]
WAITS = {"fp32": 2, "bf16": 2, "fp16": 4}
LAUNCHES = {"none": 295, "SNP": 575, "TAP": 640}
"""Of a HuBERT of two layers, kernels that are replayed among them. More than these is a step back:
find what asks for it."""


def _name(combination):
    return "-".join(combination.values())


@pytest.fixture(scope="module")
def counted(ask):
    found = ask(
        "count",
        {"shape": "tiny", "combinations": COMBINATIONS, "emotion": SHORT, "speaker": CROPS,
         "runner": {"gradient_accumulate_steps": 1}},
    )  # fmt: skip
    return {_name(one): row for one, row in zip(COMBINATIONS, found, strict=True)}


@pytest.mark.parametrize("combination", COMBINATIONS, ids=_name)
def test_a_step_runs_on_the_device_and_asks_no_more_of_it_than_it_did(counted, combination):
    row = counted[_name(combination)]
    assert row["done"] == 3 and row["said"] == []
    assert row["waits"] <= WAITS[combination["precision"]]
    assert row["launches"] <= LAUNCHES[combination["strategy"]]
    replays = {"none": 2, "SNP": 3, "TAP": 4}[combination["strategy"]]
    assert row["replays"] == (0 if combination["precision"] == "fp32" else replays)


@pytest.mark.parametrize(
    ("shape", "accumulated", "launches", "gigabytes"),
    [("base", 1, 1560, 9.5), ("large", 1, 2750, 20.5), ("large", 8, 2870, 20.5)],
)
def test_a_tap_step_of_64_utterances_asks_for_no_more_than_the_docs_say(
    ask, shape, accumulated, launches, gigabytes
):
    emotion = [3 + 3 * place / 31 for place in range(32)]
    (row,) = ask(
        "count",
        {"shape": shape, "combinations": [{"strategy": "TAP", "update": "relative",
         "precision": "bf16", "cached": True}], "emotion": emotion[::accumulated],
         "speaker": [4.0] * 32, "runner": {"gradient_accumulate_steps": accumulated}},
    )  # fmt: skip
    assert row["done"] == 3 and row["said"] == []
    assert row["waits"] <= 2
    assert row["launches"] <= launches
    assert row["replays"] == 4
    assert row["reserved_gb"] < gigabytes
