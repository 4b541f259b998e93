"""What one run takes by its settings and its upstream's shape: disk, memory, operations.

Under `budget.py`. What a frame of a layer takes was measured (docs/performance.md); all of it is
held against small runs by benchmarks/budgets.py.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spknorm.config.memory import LAYER_BYTES
from spknorm.corpora.known import CORPORA
from spknorm.schema import TaskConfig

_WEIGHT = 4  # bytes: weights stay float32 in every precision
_STATE_BYTES = {"SGD": 0, "RMSprop": 4, "Adafactor": 0.02}  # per weight; others: two moments
_OF_PRECISION = {"fp32": 1.0, "bf16": 0.5, "fp16": 0.5, "auto": 1.0}  # auto: at most
_RECOMPUTED = 1 / 6  # of them, with upstream.checkpoint_activations
_FORWARD, _BACKWARD = 2, 4  # operations per weight and frame
_PROCESS_GB = 0.7  # Python with torch and s3prl
_FRAMES_PER_SECOND, _SECONDS = 50, {"demo": 1.4}
_FRONT_END = 2.4e9  # weights used in a second of sound by HuBERT's convolutions, of frames apart
_FRONT_BYTES = 3200 * 512 * 4  # a second behind the first of them
_MEAN_SECONDS, _MANY_SECONDS = 4.5, 8.2  # of an utterance of IEMOCAP, of VoxCeleb1
_SPEAKERS = {"demo": 80}
_MANY_SPEAKERS = 1251  # VoxCeleb1
_OUTPUTS = {"emotion": 4, "voxceleb1": _MANY_SPEAKERS, "fluent_commands": 24}  # of any corpus
_UTTERANCES = {"emotion": 5531, "speaker": 145_265}  # IEMOCAP's of four classes, VoxCeleb1's
_DEMO_UTTERANCES = {"emotion": 1120, "speaker": 960}


class Shape(NamedTuple):
    """What decides about an upstream's size."""

    layers: int
    width: int
    parameters: int


_KNOWN = (  # a part of the name on s3prl's hub, layers, width; the first that is found counts
    ("distilhubert", 2, 768),
    ("xls_r_2b", 48, 1920),
    ("xls_r_1b", 48, 1280),
    ("xlarge", 48, 1280),
    ("extra_large", 48, 1280),
    ("large", 24, 1024),
    ("xls_r", 24, 1024),
    ("xlsr", 24, 1024),
    ("hubert", 12, 768),
    ("wav2vec2", 12, 768),
    ("wavlm", 12, 768),
    ("data2vec", 12, 768),
    ("unispeech", 12, 768),
)
_OWN = {"spknorm_demo_hubert": Shape(3, 64, 190_000)}


def shape_of(upstream: str, ckpt: str | None = None) -> Shape | None:
    """Return an upstream's shape by its name, or by the size of its file; None if unknown."""
    if upstream in _OWN:
        return _OWN[upstream]
    if upstream.startswith("hf:"):
        ckpt = upstream.removeprefix("hf:")
    if ckpt is not None and Path(ckpt).exists():
        path = Path(ckpt)
        files = [path] if path.is_file() else list(path.rglob("*"))
        parameters = sum(one.stat().st_size for one in files if one.is_file()) // _WEIGHT
        width = 1024 if parameters > 200e6 else 768
        if parameters < 50e6:  # 64 a layer, as those of the well-known ones have it
            width = 64 * max(1, round((parameters / (12 * 64**2)) ** (1 / 3)))
        return Shape(max(1, round(parameters / (12 * width**2))), width, parameters)
    for part, layers, width in _KNOWN:
        if re.search(part, upstream):
            position = width * (width // 16) * 128
            return Shape(layers, width, 12 * layers * width**2 + position + 4_700_000)
    return None


def checkpoint_bytes(shape: Shape, settings: TaskConfig, *, frozen: bool) -> float:
    """Return the size of one checkpoint: what trains, with its optimiser's state."""
    moved = _heads(shape, settings) + (0 if frozen else shape.parameters)
    return moved * (_WEIGHT + _state(settings))


def memory_bytes(shape: Shape, settings: TaskConfig, *, frozen: bool) -> float:
    """Return the peak of one run: weights, gradients, states, what a step may undo, activations."""
    data, method = settings.downstream_expert.datarc, settings.downstream_expert.spknorm
    heads = _heads(shape, settings)
    moved = heads + (0 if frozen else shape.parameters)
    held: float = _WEIGHT * (shape.parameters + heads) + (_WEIGHT + _state(settings)) * moved
    if method.strategy != "none" and method.update != "reversal":
        held += (_WEIGHT + _state(settings)) * moved  # stage 1 can be taken back
    seconds = data.train_batch_size * _SECONDS.get(data.corpus, _MEAN_SECONDS)
    if method.strategy == "TAP":  # one piece of the speaker batch at a time
        speakers = settings.downstream_expert.speaker_corpus
        piece = min(speakers.batch_size, speakers.micro_batch_size or speakers.batch_size)
        crop = _SECONDS.get(speakers.corpus, speakers.max_seconds or _MEAN_SECONDS)
        seconds = max(seconds, piece * crop)
    frames = seconds * _FRAMES_PER_SECOND
    precision = "fp16" if settings.runner.fp16 else settings.runner.precision
    each: float = (
        LAYER_BYTES * _OF_PRECISION[precision] * shape.width * (1 if frozen else shape.layers)
    )
    if settings.upstream.checkpoint_activations:
        each *= _RECOMPUTED
    return held + frames * each + _PROCESS_GB * 1e9


def operations(shape: Shape, settings: TaskConfig, *, frozen: bool) -> float:
    """Return the multiplications and additions of a run, without evaluations.

    Two per weight and frame forward, twice as many backward, but through the convolutions in front,
    which are not trained. Stage 2 goes back through the upstream under TAP alone. A frozen
    upstream's features of an utterance are computed once, where they are kept, as is what the
    speaker head learns from before step 1.
    """
    run, expert = settings.runner, settings.downstream_expert
    method, speakers = expert.spknorm, expert.speaker_corpus
    mean = _SECONDS.get(expert.datarc.corpus, _MEAN_SECONDS)
    crop = min(speakers.max_seconds or _MANY_SECONDS, _SECONDS.get(speakers.corpus, _MANY_SECONDS))
    batch = expert.datarc.train_batch_size * run.gradient_accumulate_steps
    emotion = run.total_steps * batch * mean
    speaker = started = 0.0
    if method.strategy != "none":
        speaker = run.total_steps * speakers.batch_size * crop
        started = crop * _num_utterances(settings, "speaker") * (method.speaker_pretrain_steps > 0)
    kept = settings.upstream.cache != "off"
    from spknorm.features import plan  # torch, which --help does without

    if frozen and kept and plan(settings, upstream_trainable=False) != "off":
        emotion = min(emotion, mean * _num_utterances(settings, "emotion"))
        speaker = min(speaker, crop * _num_utterances(settings, "speaker"))
        started = 0.0  # of the same frames
    front = 0.0 if shape in _OWN.values() else _FRONT_END
    operations = _FORWARD * (front + _weights(shape)) * (emotion + speaker + started)
    if not frozen:
        operations += _BACKWARD * _weights(shape) * emotion
        if method.strategy == "TAP":
            operations += _BACKWARD * _weights(shape) * speaker
    return operations


def stock_needs(
    shape: Shape, task: str, settings: Mapping[str, Any], *, demo: bool
) -> tuple[float, float, float]:
    """Return bytes on disk, bytes in memory and operations of a run of one of s3prl's own tasks.

    Its upstream is frozen; all hidden states of a batch are held, and none is kept for the next.
    """
    run, expert = settings["runner"], settings["downstream_expert"]
    head = (shape.width + _OUTPUTS.get(task, 0)) * expert["modelrc"]["projector_dim"]
    disk = (run["max_keep"] + 1) * head * (_WEIGHT + 8)  # and dev-best.ckpt; Adam
    seconds = expert["datarc"]["train_batch_size"] * (_SECONDS["demo"] if demo else _MEAN_SECONDS)
    states = seconds * _FRAMES_PER_SECOND * (shape.layers + 1) * shape.width * _WEIGHT
    front = 0.0 if shape in _OWN.values() else _FRONT_END
    convolved = 2 * seconds * _FRONT_BYTES * (front > 0)  # what the first one takes and gives
    memory = _WEIGHT * shape.parameters + 2 * states + convolved + _PROCESS_GB * 1e9
    processed = seconds * run["total_steps"] * run["gradient_accumulate_steps"]
    return disk, memory, _FORWARD * (front + _weights(shape)) * processed


def _weights(shape: Shape) -> float:
    """How many weights a second of sound meets, the front end's apart."""
    return shape.parameters * _FRAMES_PER_SECOND


def kept_checkpoints(settings: TaskConfig) -> float:
    """How many checkpoints stay when a run is complete, in whole ones with the moments."""
    run = settings.runner
    if run.keep == "all":
        return run.max_keep + 1  # and dev-best.ckpt
    weights = _WEIGHT / (_WEIGHT + _state(settings))
    return {"last": 1 + weights, "best": 1, "weights": weights, "none": 0}[run.keep]


def _num_utterances(settings: TaskConfig, role: str) -> int:
    """How many utterances a corpus has, or one like it."""
    expert = settings.downstream_expert
    name = (expert.datarc if role == "emotion" else expert.speaker_corpus).corpus
    if name == "demo":
        return _DEMO_UTTERANCES[role]
    known = CORPORA[name]
    return known.num_utterances or sum(known.counts.values()) or _UTTERANCES[role]


def _state(settings: TaskConfig) -> float:
    return _STATE_BYTES.get(settings.optimizer.torch_optim_name, 8)


def _heads(shape: Shape, settings: TaskConfig) -> int:
    """Weights of the heads and of the gate."""
    expert = settings.downstream_expert
    heads = shape.width * expert.modelrc.projector_dim
    if expert.spknorm.strategy == "none":
        return heads
    widths = (shape.width, *expert.modelrc.speaker_head.hidden)
    speakers = expert.speaker_corpus.max_speakers or _SPEAKERS.get(
        expert.speaker_corpus.corpus, _MANY_SPEAKERS
    )
    heads += sum(a * b for a, b in zip(widths, (*widths[1:], speakers), strict=True))
    if expert.spknorm.strategy == "SNP":
        gate = expert.modelrc.gate
        width = gate.width or shape.width
        heads += 2 * shape.width * width + (gate.depth - 1) * width**2
    return heads
