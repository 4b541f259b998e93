"""Memory that runs out on a GPU: nothing dies, and a step is lost only where nothing else helps."""

import pytest


@pytest.mark.parametrize(
    ("strategy", "update", "precision"),
    [("TAP", "relative", "bf16"), ("TAP", "reversal", "fp16"), ("none", "literal", "fp32")],
)
def test_a_run_survives_an_allocation_of_a_step_that_fails_whichever_it_is(
    ask, strategy, update, precision
):
    found = ask(
        "run_out",
        {"strategy": strategy, "update": update, "precision": precision, "every": 101},
        PYTORCH_NO_CUDA_MEMORY_CACHING="1",
    )
    assert found["tried"] >= 5
    assert found["survived"] == found["tried"]


@pytest.mark.parametrize(
    "gigabytes",
    [8, 12, pytest.param(16, marks=pytest.mark.slow), pytest.param(24, marks=pytest.mark.slow)],
)
def test_utterances_of_34_seconds_train_a_hubert_large_on_small_cards(ask, gigabytes):
    found = ask(
        "long_utterances",
        {"seconds": [34.0, 30.0, 25.0, 20.0], "steps_done": 2},
        gigabytes=gigabytes,
    )
    assert (found["done"], found["lost"]) == (2, 0)
    assert found["reserved_gb"] <= gigabytes
