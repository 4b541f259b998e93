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


@pytest.mark.parametrize("strategy", ["SNP", "TAP"])
@pytest.mark.parametrize("before", [1, 2])
def test_so_does_a_step_whose_layers_are_recorded_or_replayed(ask, strategy, before):
    asked = {"strategy": strategy, "update": "relative", "precision": "bf16", "before": before}
    found = ask("run_out", {**asked, "what": "product", "every": 9})
    assert found["tried"] >= 3
    assert found["survived"] == found["tried"]
    assert found["said"] == ["layers are not recorded as CUDA graphs any more"]


def test_so_does_a_step_that_has_no_memory_for_a_recording(ask):
    asked = {"strategy": "SNP", "update": "relative", "precision": "bf16", "before": 1}
    found = ask("run_out", {**asked, "every": 1})
    assert found["tried"] >= 5
    assert found["survived"] == found["tried"]


@pytest.mark.parametrize(
    "how",
    [
        {"again": 150},  # in the second try of the same step
        {"gradient_accumulate_steps": 4},
        {"gradient_accumulate_steps": 4, "micro_batch": 1, "every": 901},  # between pieces
        {"gradient_accumulate_steps": 3, "micro_batch": 1, "again": 100, "every": 601},
        {"precision": "fp16", "overflows": True},
        {"precision": "fp16", "overflows": True, "again": 150, "gradient_accumulate_steps": 2},
    ],
    ids=str,
)
def test_so_it_does_where_that_is_not_all_that_happens(ask, how):
    asked = {"strategy": "TAP", "update": "relative", "precision": "bf16", "every": 301, **how}
    found = ask("run_out", asked, PYTORCH_NO_CUDA_MEMORY_CACHING="1")
    assert found["tried"] >= 3
    assert found["survived"] == found["tried"]
    assert found["said"]  # what is done about it


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


def test_what_a_run_does_beside_its_steps_survives_an_allocation_that_fails(ask, tmp_path):
    found = ask(
        "run_out_elsewhere",
        {"every": 8},
        PYTORCH_NO_CUDA_MEMORY_CACHING="1",
        SPKNORM_CACHE=str(tmp_path),
    )
    for what in ("evaluation", "features", "predict"):
        assert found[what]["tried"] >= 8
        assert found[what]["survived"] == found[what]["tried"]
    assert found["export"] == {"tried": 0, "survived": 0}  # it is the CPU's
    assert "300.0 s of audio" in found["long"]
    assert found["after it as before"]


COMMANDS = [
    ("train", "allocation", 5),
    ("train", "product", 2),
    ("train", "cuDNN", 2),
    ("train_frozen", "allocation", 4),
    ("predict", "allocation", 3),
    ("audit", "allocation", 4),
    ("leakage", "allocation", 2),
    ("export", "allocation", 1),  # onnx, too
]
SURVIVED = {"train": (7, 2), "train_frozen": (3, 1), "audit": (1, 4), "leakage": (1, 2)}
"""How many times at least, and how many times at most not: while models are built."""
TOLD = (
    "2 spknorm: Memory ran out (CUDA error: out of memory). Take a device with more of it "
    "(--device cpu has the machine's), a smaller upstream, or smaller batches."
)
SAID_BY_CUDNN = ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "CUDA error: out of memory")


@pytest.mark.slow
def test_whole_commands_survive_memory_that_runs_out_or_end_with_one_line(ask):
    found = ask("run_out_in_commands", {"asked": COMMANDS}, PYTORCH_NO_CUDA_MEMORY_CACHING="1")
    ends = {}
    for (command, *_), told in zip(COMMANDS, found, strict=True):
        ends.setdefault(command, []).extend(end.replace(*SAID_BY_CUDNN) for end in told)
    assert {end for told in ends.values() for end in told} == {"", TOLD}
    for command, (survived, ended) in SURVIVED.items():
        assert ends[command].count("") >= survived
        assert ends[command].count(TOLD) <= ended
    assert ends["predict"][-1] == "" and ends["export"] == []  # which is the CPU's


@pytest.mark.parametrize(("what", "every"), [("product", 11), ("cuDNN", 5)])
def test_so_does_a_step_whose_libraries_get_no_memory(ask, what, every):
    asked = {"strategy": "TAP", "update": "relative", "precision": "bf16", "every": every}
    found = ask("run_out", {**asked, "what": what})
    assert found["tried"] >= 3
    assert found["survived"] == found["tried"]


def test_a_card_that_does_not_hold_the_upstream_is_one_line(server, tmp_path):
    demo = ",,".join(
        f"config.downstream_expert.{one}.corpus=demo" for one in ("datarc", "speaker_corpus")
    )
    run = ["-d", "emotion_spknorm", "-u", "spknorm_demo_hubert", "-o", demo]
    done = server.do("command", {"arguments": [*run, "-p", str(tmp_path / "x")]}, gigabytes=0.004)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    told = done.stderr.strip().splitlines()[-1]
    assert told.startswith("spknorm: Memory ran out (CUDA out of memory")
    assert told.endswith("a smaller upstream, or smaller batches.")
