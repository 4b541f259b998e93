"""Batches copied ahead, on a stream of their own: read after the copy, overwritten after that."""

import pytest

STEPS = 3


@pytest.mark.parametrize("slow", [False, True], ids=["fast", "slow"])
@pytest.mark.parametrize(("strategy", "precision"), [("TAP", "bf16"), ("none", "fp16")])
def test_in_training_no_batch_is_read_before_its_copy_nor_overwritten_before_it_is_read(
    ask, strategy, precision, slow
):
    asked = {"strategy": strategy, "precision": precision, "slow": slow, "steps_done": STEPS}
    found = ask("ordering", asked)
    assert found["unordered"] == []
    own, ahead = sorted(found["copies"].values(), reverse=True)  # of each stream
    assert ahead == STEPS * (2 if strategy == "TAP" else 1)
    assert own >= STEPS  # labels and layouts
    assert found["across"] >= 50  # pairs of uses by both, in order


def test_a_step_that_does_not_wait_for_its_batch_is_found_out(ask):
    asked = {"strategy": "TAP", "precision": "bf16", "slow": True, "steps_done": STEPS}
    found = ask("ordering", {**asked, "left_out": "wait_stream"})
    assert "the copy writes, then aten.stack.default reads" in found["unordered"]


@pytest.mark.parametrize(
    ("left_out", "unordered"),
    [
        ("", None),
        ("wait_stream", "the copy writes, then aten.cat.default reads"),
        ("record_stream", "aten.cat.default reads, then the copy writes"),
    ],
)
def test_where_the_host_never_waits_both_the_wait_and_the_memorys_second_stream_are_needed(
    ask, left_out, unordered
):
    found = ask("copied_ahead", {"left_out": left_out})
    assert unordered in found["unordered"] if left_out else found["unordered"] == []


def test_what_goes_wrong_ahead_is_not_the_present_steps(ask):
    assert ask("trouble_ahead") == {
        "copied": [2, 2],  # tensors of each batch that are there
        "memory ran out": [0],
        "then again": [2],
        "let go": [0],
        "held by a step that ran out": 0,
        "unreadable": "cannot be read: u2.wav",
    }
