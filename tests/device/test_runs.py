"""Whole runs on the pretended device, from corpora to result.json."""

import pytest

STILL = {"attention_dropout": 0.0}
CASES = {
    "bf16, no dropout": (
        {"precision": "auto", "checkpoint": STILL}, 90, "bf16", "flash, on packed frames", [],
    ),
    "heads of 4": (
        {"precision": "auto", "checkpoint": {**STILL, "encoder_attention_heads": 8}}, 90, "bf16",
        "flash, on padded frames", [],
    ),
    "bf16": ({"precision": "auto"}, 90, "bf16", "flash, on packed frames", []),
    "WavLM": ({"precision": "auto", "wavlm": True}, 90, "bf16",
              "memory-efficient, on padded frames", []),
    "fp32": (
        {"precision": "fp32"}, 90, "fp32", "memory-efficient, on padded frames", ["convolutions"],
    ),
    "an old card": ({"precision": "auto"}, 75, "fp32", "memory-efficient, on padded frames", []),
    "fp16 on an old card": (
        {"precision": "fp16", "checkpoint": STILL}, 75, "fp16",
        "memory-efficient, on padded frames", [],
    ),
    "the newest card": ({"precision": "auto"}, 120, "bf16", "flash, on packed frames", []),
}  # fmt: skip
RECORDED = ("bf16, no dropout", "bf16", "the newest card")
"""Their second step is recorded; in the others layers are not run as one function each."""
KERNELS = {"flash": "flash_fwd", "memory-efficient": "fmha_cutlassF"}


@pytest.fixture(scope="module")
def runs(ask, tmp_path_factory):
    """The runs of `CASES` by name, those of one card in one process."""
    found = {}
    for capability in (75, 90, 120):
        names = [name for name, case in CASES.items() if case[1] == capability]
        cache = str(tmp_path_factory.mktemp("cache"))
        answers = ask(
            "whole_runs", {"runs": [CASES[name][0] for name in names]}, capability=capability,
            SPKNORM_CACHE=cache,
        )  # fmt: skip
        found.update(zip(names, answers, strict=True))
    return found


@pytest.mark.parametrize("name", CASES)
def test_result_and_log_name_what_ran(runs, name):
    _, capability, precision, attention, tf32 = CASES[name]
    found, card = runs[name], f"pretended card of sm_{capability}"
    assert found["computing"] == {
        "device": card, "precision": precision, "attention": [attention], "tf32": tf32,
        "fused": True, "compiled": False, "recorded": name in RECORDED, "most_frames": None,
        "recomputes": False, "keeps_on_host": False,
    }  # fmt: skip
    rounded = [f"TF32 in {' and '.join(tf32)}"] if tf32 else []
    parts = [f"{precision} on {card}", *rounded, f"attention {attention}", "fused optimisers"]
    parts += ["layers replayed as CUDA graphs"] if name in RECORDED else []
    assert found["log"][-1] == "computed in " + ", ".join(parts)
    assert KERNELS[attention.partition(",")[0]] in found["kernels"]
