"""Training loops that tick: s3prl's own Runner, this project's, and transformers' Trainer.

Functions named `..._loop` are loops for `relay.Relay` once everything before `tick` is given to
them (functools.partial). All see the batches that they are given, in that order, again and again.
"""

import argparse
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import soundfile
import torch

from speed.relay import Tick
from speed.world import EMOTIONS, Corpus
from spknorm import config, registry
from spknorm.batches import Order, Recordings, Stream

FOREVER = 1_000_000
SIDE, PRODUCTS = 2048, 8
PRODUCTS_FLOPS = 2 * SIDE**3 * PRODUCTS
_FLAGS = {
    "mode": "train", "evaluate_split": "test", "override": None, "backend": "nccl",
    "local_rank": None, "past_exp": None, "init_ckpt": None, "config": None,
    "downstream_variant": None, "hub": "torch",
    "upstream_model_config": None, "upstream_refresh": False, "upstream_layer_selection": None,
    "upstream_feature_normalize": False, "upstream_model_name": "model.pt",
    "upstream_revision": None, "expname": None, "auto_resume": False, "push_to_hf_hub": False,
    "hf_hub_org": None, "seed": 1337, "cache_dir": None, "verbose": False, "disable_cudnn": False,
}  # fmt: skip
_RATES = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout")
_QUIET = {"log_step": FOREVER, "save_step": FOREVER, "eval_step": FOREVER, "eval_dataloaders": []}


def stock_runner(
    ckpt: Path,
    corpus: Corpus,
    *,
    batch_size: int,
    trainable: bool,
    device: str = "cpu",
    entry: str = "hubert_local",
) -> Any:
    """Return s3prl's own Runner on its own `emotion` task."""
    registry.register()
    from s3prl.downstream.runner import Runner

    mapping = config.load_yaml(registry.config_path("emotion"))
    mapping["runner"].update(total_steps=FOREVER, gradient_accumulate_steps=1, **_QUIET)
    mapping["downstream_expert"]["datarc"].update(
        root=str(corpus.root), meta_data=str(corpus.meta_data), train_batch_size=batch_size,
        eval_batch_size=batch_size, num_workers=0,
    )  # fmt: skip
    selection = "last_hidden_state" if trainable else "hidden_states"
    return Runner(_arguments("emotion", ckpt, selection, trainable, device, entry), mapping)


def stock_loop(
    ckpt: Path,
    corpus: Corpus,
    tick: Tick,
    *,
    batch_size: int = 4,
    trainable: bool = True,
    batch: Sequence[int] | None = None,
    device: str = "cpu",
    entry: str = "hubert_local",
) -> None:
    """Run s3prl's Runner, on `batch` (places in the corpus) or on its own random batches."""
    runner = stock_runner(
        ckpt, corpus, batch_size=batch_size, trainable=trainable, device=device, entry=entry
    )
    if batch is None:
        own = runner.downstream.model.get_dataloader
        runner.downstream.model.get_dataloader = lambda split: _Ticking(own(split), tick)
    else:
        files = _files(corpus, batch)
        wavs = [soundfile.read(file, dtype="float32")[0] for file in files]
        labels = [EMOTIONS.index("neu")] * len(wavs)
        fixed = [(wavs, labels, [file.stem for file in files])] * FOREVER
        runner.downstream.model.get_dataloader = lambda split: _Ticking(fixed, tick)
    runner.train()


def our_runner(
    ckpt: Path,
    corpus: Corpus,
    *,
    strategy: str,
    cache: Path,
    batch_size: int = 4,
    trainable: bool = True,
    precision: str = "fp32",
    fold: str = "fold1",
    device: str = "cpu",
    runner: dict[str, Any] | None = None,
    upstream: dict[str, Any] | None = None,
    reading: dict[str, Any] | None = None,
    speakers: dict[str, Any] | None = None,
    entry: str = "hubert_local",
    expdir: Path | None = None,
) -> Any:
    """Return this project's Runner on the same corpus; it is its own speaker corpus.

    `runner`, `upstream`, `reading` (datarc) and `speakers` (speaker_corpus) add to those sections.
    A run that stands in `expdir` is gone on with.
    """
    registry.register()
    from spknorm.runner import SpknormRunner
    from spknorm.runs import checkpoint

    mapping = {
        "runner": {
            "total_steps": FOREVER, "gradient_accumulate_steps": 1, "precision": precision,
            **_QUIET, **(runner or {}),
        },
        "optimizer": {"lr": 1e-5, "fused": True},
        "upstream": {"cache_dir": str(cache), **(upstream or {})},
        "downstream_expert": {
            "datarc": {
                "corpus": "manifest", "manifest": str(corpus.manifest), "test_fold": fold,
                "train_batch_size": batch_size, "eval_batch_size": batch_size, "pre_load": True,
                **(reading or {}),
            },
            "speaker_corpus": {
                "corpus": "manifest", "manifest": str(corpus.manifest),
                "batch_size": batch_size, "max_seconds": None, **(speakers or {}),
            },
            "spknorm": {"strategy": strategy, "ceiling": None},  # every ascent counts
        },
    }  # fmt: skip
    selection = "last_hidden_state" if trainable else "hidden_states"
    arguments = _arguments("emotion_spknorm", ckpt, selection, trainable, device, entry)
    if expdir is not None:
        expdir.mkdir(parents=True, exist_ok=True)
        arguments.expdir = str(expdir)
        if checkpoint.existing(expdir):
            arguments.init_ckpt = str(checkpoint.latest(expdir)[0])
    return SpknormRunner(arguments, mapping)


def our_loop(
    ckpt: Path,
    corpus: Corpus,
    tick: Tick,
    *,
    batch: Sequence[int] | None = None,
    every: int = 1,
    **options: Any,
) -> None:
    """Run this project's Runner, on `batch` for both streams or on its own random batches.

    Args:
        ckpt: The upstream.
        corpus: Both corpora.
        tick: Called where a step begins.
        batch: Places in the corpus.
        every: Tick once in so many steps.
        options: Of `our_runner`.
    """
    runner = our_runner(ckpt, corpus, **options)
    if batch is not None:
        _fix(runner.expert, corpus, batch)
    asked, number = runner._stop_if_asked, itertools.count()

    def between() -> None:  # two steps
        if next(number) % every == 0:
            tick()
        asked()

    runner._stop_if_asked = between
    runner.train()


def task_loop(ckpt: Path, corpus: Corpus, tick: Tick, *, batch: Sequence[int]) -> None:
    """Run s3prl's Runner on this project's task with TAP, on `batch` for both streams.

    As `runner.engine: s3prl` runs it: both streams in one padded batch, one backward pass.
    """
    registry.register()
    from s3prl.downstream.runner import Runner

    mapping = config.load_yaml(registry.config_path("emotion_spknorm"))
    mapping["runner"].update(
        engine="s3prl", total_steps=FOREVER, gradient_accumulate_steps=1, early_stopping=None,
        **_QUIET,
    )  # fmt: skip
    mapping["optimizer"].pop("groups", None)
    sections = mapping["downstream_expert"]
    sections["datarc"].update(
        corpus="manifest", manifest=str(corpus.manifest), train_batch_size=len(batch),
        eval_batch_size=len(batch), num_workers=0,
    )  # fmt: skip
    sections["speaker_corpus"].update(
        corpus="manifest", manifest=str(corpus.manifest), batch_size=len(batch), max_seconds=None
    )
    sections["spknorm"].update(strategy="TAP", update="reversal")
    arguments = _arguments("emotion_spknorm", ckpt, "last_hidden_state", True, "cpu")
    runner = Runner(arguments, mapping)
    expert = runner.downstream.model
    _fix(expert, corpus, batch)
    own = expert.get_dataloader
    expert.get_dataloader = lambda *args, **kwargs: _Ticking(own(*args, **kwargs), tick)
    runner.train()


def transformers_loop(
    corpus: Corpus,
    batch: Sequence[int],
    tick: Tick,
    *,
    shape: dict[str, Any],
    precision: str = "fp32",
    device: str = "cpu",
) -> None:
    """Run transformers' Trainer on a HubertForSequenceClassification of Base's or Large's kind."""
    import transformers

    wavs = [torch.from_numpy(soundfile.read(f, dtype="float32")[0]) for f in _files(corpus, batch)]

    def collate(items: list[int]) -> dict[str, torch.Tensor]:
        padded = torch.nn.utils.rnn.pad_sequence([wavs[i] for i in items], batch_first=True)
        return {"input_values": padded, "labels": torch.zeros(len(items), dtype=torch.long)}

    class Callback(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            tick()

    settings = transformers.HubertConfig(
        hidden_size=shape["dim"],
        num_hidden_layers=shape["layers"],
        intermediate_size=shape["ffn"],
        num_attention_heads=shape["heads"],
        layerdrop=0.0,
        apply_spec_augment=False,
        num_labels=4,
        attn_implementation="sdpa",
        do_stable_layer_norm=shape["large"],
        feat_extract_norm="layer" if shape["large"] else "group",
        **({} if shape["dropout"] else dict.fromkeys(_RATES, 0.0)),
    )
    with torch.device(device):  # random weights are drawn there
        model = transformers.HubertForSequenceClassification(settings)
    model.freeze_feature_encoder()
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder,
            per_device_train_batch_size=len(wavs),
            max_steps=FOREVER,
            use_cpu=device == "cpu",
            bf16=precision == "bf16",
            learning_rate=1e-5,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        if arguments.n_gpu > 1:  # of those that are seen the first alone, as the other contenders
            arguments._n_gpu = 1
        transformers.Trainer(
            model=model,
            args=arguments,
            data_collator=collate,
            train_dataset=_Places(len(wavs)),
            callbacks=[Callback()],
        ).train()


def products_loop(dtype: torch.dtype, tick: Tick) -> None:
    """Multiply square matrices, `PRODUCTS` times a step: what the machine can do."""
    a, b = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
    while True:
        tick()
        for _ in range(PRODUCTS):
            a @ b


class _Places(torch.utils.data.Dataset[int]):
    """The numbers 0 ... size - 1."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: int) -> int:
        return place


class _Ticking:
    """Batches that tick before each is used."""

    def __init__(self, batches: Any, tick: Tick) -> None:
        self._batches, self._tick = batches, tick

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches:
            self._tick()
            yield batch


def _fix(expert: Any, corpus: Corpus, batch: Sequence[int]) -> None:
    """Let an expert's streams be `batch`, again and again."""
    every_utterance = {u.path.name: u for part in expert.split for u in part}
    chosen = [every_utterance[file.name] for file in _files(corpus, batch)]
    stream = Stream(
        Recordings(chosen, [0] * len(chosen), pre_load=True),
        Order(len(chosen), batch_size=len(chosen), shuffle=False),
    )
    fixed = expert.streams  # which are made anew each time they are asked for
    fixed.emotion = lambda rank=0, world=1: stream
    if expert.num_speakers > 0:
        fixed.speaker = lambda rank=0, world=1: stream
    expert.__class__ = type("Fixed", (type(expert),), {"streams": fixed})


def _files(corpus: Corpus, places: Sequence[int]) -> list[Path]:
    return [corpus.root / f"Session{place % 5 + 1}" / f"u{place:05d}.wav" for place in places]


def _arguments(
    task: str,
    ckpt: Path,
    selection: str,
    trainable: bool,
    device: str,
    entry: str = "hubert_local",
) -> argparse.Namespace:
    return argparse.Namespace(
        **_FLAGS,
        downstream=task,
        upstream=entry,
        upstream_ckpt=str(ckpt),
        upstream_feature_selection=selection,
        upstream_trainable=trainable,
        device=device,
        expdir=tempfile.mkdtemp(prefix="spknorm-benchmark-"),
    )
