"""The parts of benchmarks/ that decide what a number means."""

import functools
import json
import multiprocessing
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import relay_loops
from torch.autograd import DeviceType

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import run
from speed import measure, timeline, watches, world
from speed.measure import Figure, alternate
from speed.relay import Leg, OneByOne, Relay


@pytest.mark.parametrize(
    ("value", "target", "at_least", "verdict"),
    [
        (2.0, 1.8, True, "met"),
        (1.7, 1.8, True, "missed"),
        (1.7, 1.8, False, "met"),
        (2.0, 1.8, False, "missed"),
        (None, 1.8, True, "not measured"),
        (2.0, None, True, "-"),
    ],
)
def test_a_figure_is_judged_by_its_target(value, target, at_least, verdict):
    assert Figure("x", value, target, at_least=at_least).verdict == verdict


def test_contenders_take_turns_and_their_warmup_is_left_out():
    calls = []
    seconds = alternate(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, warmup=1
    )
    assert calls == ["a", "b"] * 4
    assert [len(values) for values in seconds.values()] == [3, 3]


def test_loops_take_turns_step_by_step_and_only_their_own_time_counts(tmp_path):
    path = tmp_path / "order"
    loops = {
        "slow": functools.partial(relay_loops.note_steps, path, "slow", 0.05),
        "fast": functools.partial(relay_loops.note_steps, path, "fast", 0),
    }
    relay = Relay(rounds=3, warmup=1)
    seconds = relay.run(loops)
    assert path.read_text().split() == ["slow", "fast"] * 4
    assert [len(values) for values in seconds.values()] == [3, 3]
    assert all(0.05 <= value < 10 for value in seconds["slow"])
    assert min(seconds["fast"]) < 0.05
    assert relay.peaks == {"slow": 0.0, "fast": 0.0}
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("loop", "told"),
    [
        (relay_loops.break_down, "KeyError: 'broken'"),
        (relay_loops.end_early, "before its steps were seen"),
        (relay_loops.die, "its process ended with 7"),
    ],
)
def test_a_loop_that_breaks_off_is_named_and_the_others_end(tmp_path, loop, told):
    other = functools.partial(relay_loops.note_steps, tmp_path / "order", "other", 0)
    with pytest.raises(RuntimeError, match=f"(?s)The loop `faulty` broke off: .*{told}"):
        Relay(rounds=2).run({"other": other, "faulty": loop})
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("relay", [Relay(at_once=True), OneByOne()])
def test_a_loop_does_its_legs_and_is_stopped_after_its_last(tmp_path, relay):
    path = tmp_path / "order"
    loops = {
        name: functools.partial(relay_loops.note_steps, path, name, 0) for name in ("a", "b", "c")
    }
    legs = [Leg(("a", "b"), 2), Leg(("b", "c"), 1), Leg(("b",), 2, relay_loops.watching)]
    first, second, third = relay.run_legs(loops, legs)
    turns = "a b a b b c b b" if type(relay) is Relay else "a a b b b b b c"
    assert path.read_text().split() == turns.split()
    assert {name: len(values) for name, values in {**first, **second}.items()} == {
        "a": 2, "b": 1, "c": 1,
    }  # fmt: skip
    assert all(0 <= value < 10 for value in (*first["a"], *first["b"], *second["c"]))
    assert third == {"b": [["left"], ["left"]]}
    assert set(relay.peaks) == set(relay.set_up) == {"a", "b", "c"}
    assert not multiprocessing.active_children()


def event(name, start, end, *, device=True, annotation=False):
    """One of the profiler's, in microseconds."""
    return SimpleNamespace(
        name=name, time_range=SimpleNamespace(start=start, end=end), is_user_annotation=annotation,
        device_type=DeviceType.CUDA if device else DeviceType.CPU,
    )  # fmt: skip


def test_kernels_of_a_step_are_counted_without_the_annotations_that_span_them():
    found = watches.seen(
        [
            event("nvjet_sm90_tst_128x224", 0, 1000),
            event("Memcpy HtoD (Pinned -> Device)", 500, 1500),  # beside it, on another stream
            event("pytorch_flash::flash_bwd_convert_dq_kernel", 2000, 2250),
            event("cutlass__5x_cudnn::Kernel<cutlass_tensorop_bf16_s16816dgrad>", 3000, 3500),
            event("multi_tensor_apply_kernel<FusedOptimizerTensorListMetadata>", 4000, 5000),
            event("Optimizer.step#Adam.step", 3900, 5100),
            event("a part of mine", 0, 9000, annotation=True),
            event("vectorized_layer_norm_kernel<float>", 6000, 6125),
            event("cudaLaunchKernel", 100, 110, device=False),
            event("cudaStreamSynchronize", 110, 2110, device=False),
        ],
        taken=10.0,
    )
    assert (found["kernels"], found["copies"]) == (5, 1)
    assert found["device_ms"] == 1.5 + 0.25 + 0.5 + 1.0 + 0.125
    assert found["host_ms"] == 8.0
    assert found["kinds"] == {
        "matrix products": 1.0, "attention": 0.25, "positional convolution": 0.5,
        "optimiser and copies": 2.0, "everything else": 0.125,
    }  # fmt: skip


ADVICE = (
    "\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\nCompile with `TORCH_USE_CUDA_DSA`"
)
LOOP = "The loop `s3prl` broke off: Traceback (most recent call last):\n  File ...\n    x @ y\n"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError(f"CUDA error: unknown error{ADVICE}"), "CUDA error: unknown error"),
        (RuntimeError(f"{LOOP}torch.AcceleratorError: CUDA error: busy{ADVICE}"),
         "torch.AcceleratorError: CUDA error: busy"),
        (RuntimeError(f"{LOOP}KeyError: 1\n\nDuring ...\n\nValueError: two"), "ValueError: two"),
        (RuntimeError("its process ended with -9"), "its process ended with -9"),
        (KeyError(), "KeyError"),
    ],
)  # fmt: skip
def test_a_part_that_breaks_off_on_a_gpu_says_what_broke_and_not_how_to_debug_it(error, expected):
    from speed.gpu import _guarded

    def part():
        raise error
        yield

    figure, took = _guarded("part", part)
    assert (took.name, took.unit) == ("part, measured in", "s")
    assert (figure.value, figure.note) == (None, expected)
    assert "Traceback" in figure.details["traceback"]


def test_the_clock_of_the_processor_does_not_count_waiting():
    import torch

    threads = torch.get_num_threads()
    measure.use_clock("cpu")
    try:
        assert alternate({"sleep": lambda: time.sleep(0.05)}, rounds=1)["sleep"][0] < 0.02
    finally:
        measure.use_clock("wall")
        torch.set_num_threads(threads)


def test_useful_work_counts_no_padding_and_trains_the_transformer_alone():
    front_end, transformer = world.useful_flops(world.BASE, [4.5])
    forward = world.useful_flops(world.BASE, [4.5], training=False)
    assert front_end / 4.5 == pytest.approx(4.9e9, rel=0.05)  # per second of audio
    assert transformer / 4.5 == pytest.approx(27e9, rel=0.1)
    assert forward == (front_end, transformer / 3)
    shorter = world.useful_flops(world.BASE, [2.0])
    assert sum(shorter) < 0.45 * (front_end + transformer)


def test_a_table_says_what_was_missed_and_what_was_not_measured():
    figures = [
        Figure("fast", 2.0, 1.8, note="why").as_json(),
        Figure("gpu", None, 6.0, note="there is no GPU").as_json(),
    ]
    assert run.table(figures).splitlines()[2:] == [
        "| fast | 2 times | at least 1.8 | met; why |",
        "| gpu |  | at least 6 | not measured; there is no GPU |",
    ]


def test_a_result_file_keeps_the_families_of_other_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(
        measure, "machine", lambda: {"load_average": [0.0], "matrix_gflops": {"float32": 1.0}}
    )
    path = tmp_path / "speed.json"
    for family, value in (("reading", 1.0), ("frozen", 2.0), ("reading", 3.0)):
        figure = {"family": family, **Figure("x", value).as_json()}
        run.write(path, [figure], measure.machine(), options="--clock wall")
    runs = json.loads(path.read_text())["runs"]
    assert [(r["families"], r["figures"][0]["value"]) for r in runs] == [
        (["frozen"], 2.0),
        (["reading"], 3.0),
    ]
    assert not any("incomplete" in run for run in runs)


def test_a_run_that_is_cut_off_leaves_what_it_measured(tmp_path, monkeypatch):
    def cut_off(folder, *, quick, short):
        yield Figure("x", 1.0)
        yield Figure("y", 2.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "machine", dict)
    monkeypatch.setitem(run.FAMILIES, "reading", cut_off)
    path = tmp_path / "speed.json"
    monkeypatch.setattr(sys, "argv", ["run.py", "--only", "reading", "--out", str(path)])
    monkeypatch.setattr(run.logging, "disable", lambda level: None)
    with pytest.raises(KeyboardInterrupt):
        run.main()
    [left] = json.loads(path.read_text())["runs"]
    assert left["incomplete"] is True
    assert [figure["name"] for figure in left["figures"]] == ["x", "y"]
    assert [file.name for file in tmp_path.iterdir()] == ["speed.json"]


def test_a_missing_peer_is_told_before_anything_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["run.py", "--only", "finetune"])
    with pytest.raises(SystemExit) as exit_:
        run.main()
    assert exit_.value.code == 2
    assert "'.[benchmark]'" in capsys.readouterr().err


@pytest.mark.parametrize("processes", [0, 1])
def test_a_timeline_has_the_batches_of_both_corpora_in_turn(
    tiny_hubert, tmp_path, monkeypatch, processes
):
    monkeypatch.setattr(timeline, "STEPS", 3)
    emotions = world.make_corpus(tmp_path / "emotions", [0.5] * 100)
    speakers = world.make_corpus(tmp_path / "speakers", [5.0] * 20, kind="flac")
    waits = timeline.follow(
        tiny_hubert, emotions, speakers, processes=processes, cache=tmp_path / "cache"
    )
    assert [wait.corpus for wait in waits] == ["emotion", "speaker"] * 3
    times = [moment for wait in waits for moment in wait[1:]]
    assert times == sorted(times)
