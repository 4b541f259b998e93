"""The same task under our engine, under s3prl's Runner, and as s3prl's own `emotion`.

All start from the same weights, see the same batches, and are compared on a CPU in float32.
"""

import copy
import importlib

import pytest
import tiny_runs
import torch
from tiny_runs import make_runner, settings_of
from torch import nn

import spknorm.compat  # noqa: F401  # before s3prl

STEPS = 50
MAX_RELATIVE = 1e-5


@pytest.fixture
def start(still_hubert, tiny_corpora, tmp_path):
    """A function that returns the same new weights for every engine."""
    saved = {}

    def load(runner, key):
        modules = (runner.upstream.model, runner.downstream.model)
        if key not in saved:
            saved[key] = [copy.deepcopy(module.state_dict()) for module in modules]
        for module, state in zip(modules, saved[key], strict=True):
            own = module.state_dict()
            renamed = {name.removeprefix("heads."): value for name, value in state.items()}
            prefix = "heads." if any(name.startswith("heads.") for name in own) else ""
            module.load_state_dict(
                {name: renamed.get(name.removeprefix(prefix), value) for name, value in own.items()}
            )
        return runner

    return load


def settings(corpora, engine, **options):
    """The comparison's configuration: everything that both engines can do alike."""
    return settings_of(
        corpora,
        engine=engine,
        total_steps=STEPS,
        eval_step=25,
        save_step=STEPS,
        other={
            "optimizer": {"lr": 1e-3, "groups": None},
            "upstream": {"packed": False, "cache": "off"},
            # as shipped where s3prl has no adversary; else one norm over both losses, as its Runner
            "runner": {"clip": "auto" if options["strategy"] == "none" else "joint"},
        },
        **options,
    )


class Losses(list):
    """Collects the training losses of any engine at the heads' own forward."""

    def watch(self, monkeypatch, module, name):
        original = getattr(module, name)

        def watched(*args, **kwargs):
            result = original(*args, **kwargs)
            if module.training:
                self.append(getattr(result, "loss", result).item())
            return result

        monkeypatch.setattr(module, name, watched)
        return self


def predictions_of(folder):
    return {
        f"{split}_{kind}": (folder / f"{split}_fold1_{kind}.txt").read_text()
        for split in ("dev", "test")
        for kind in ("predict", "truth")
    }


def train_ours(corpora, ckpt, folder, start, monkeypatch, **options):
    runner = make_runner(ckpt, settings(corpora, "spknorm", **options), folder)
    start(runner, "weights")
    losses = Losses().watch(monkeypatch, runner.expert.heads, "emotion_of")
    runner.train()
    return runner, losses


def train_under_s3prl(corpora, ckpt, folder, start, monkeypatch, **options):
    from s3prl.downstream.runner import Runner

    mapping = settings(corpora, "s3prl", **options)
    mapping["optimizer"].pop("groups")
    mapping.pop("upstream")  # how our engine computes
    runner = make_runner(ckpt, mapping, folder, runner=Runner)
    start(runner, "weights")
    losses = Losses().watch(monkeypatch, runner.downstream.model.heads, "emotion_of")
    runner.train()
    return runner, losses


def train_stock(corpora, ckpt, folder, start, monkeypatch, ours, **options):
    """Train s3prl's own `emotion` on the batches of `ours`."""
    from s3prl.downstream.runner import Runner

    mapping = settings(corpora, "s3prl", **options)
    root = corpora / "iemocap"
    data = {
        "root": str(root), "meta_data": str(root / "meta_data"), "pre_load": True,
        "num_workers": 0, "train_batch_size": 4, "eval_batch_size": 4, "valid_ratio": 0.2,
        "test_fold": "fold1",
    }  # fmt: skip
    stock = {
        "runner": mapping["runner"],
        "optimizer": {key: v for key, v in mapping["optimizer"].items() if key != "groups"},
        "downstream_expert": {
            "datarc": data,
            "modelrc": {
                "projector_dim": 8, "select": "UtteranceLevel",
                "UtteranceLevel": {"pooling": "MeanPooling"},
            },
        },
    }  # fmt: skip
    importlib.import_module("s3prl.downstream.emotion.expert")
    runner = make_runner(ckpt, stock, folder, runner=Runner, downstream="emotion")
    start(runner, "weights")
    expert = runner.downstream.model

    def get_dataloader(split, **_):
        stream = ours.streams.emotion() if split == "train" else ours.streams.evaluation(split)
        batches = (stream[k] for k in range(STEPS if split == "train" else len(stream.order)))
        return [(batch.wavs, batch.labels, batch.ids) for batch in batches]

    monkeypatch.setattr(expert, "get_dataloader", get_dataloader)
    losses = Losses().watch(monkeypatch, expert, "forward")
    runner.train()
    return runner, losses


def weights_of(runner):
    """Return all weights by a name that no engine prefixes."""
    modules = (runner.upstream.model, runner.featurizer.model, runner.downstream.model)
    return {
        f"{place}.{name.removeprefix('heads.')}": weight.detach()
        for place, module in enumerate(modules)
        for name, weight in module.named_parameters()
    }


@pytest.mark.slow
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("selection", ["last_hidden_state", "hidden_states"])
def test_strategy_none_is_s3prls_emotion_task_bit_for_bit(
    tiny_corpora, still_hubert, tmp_path, start, monkeypatch, trainable, selection
):
    """All utterances here are of one length, so that no engine pads."""
    flags = {"upstream_trainable": trainable, "upstream_feature_selection": selection}
    monkeypatch.setattr(tiny_runs, "FLAGS", {**tiny_runs.FLAGS, **flags})
    options = {"strategy": "none", "expert": {}, "method": {}}
    arguments = (tiny_corpora, still_hubert)
    ours, losses = train_ours(*arguments, tmp_path / "a", start, monkeypatch, **options)
    theirs, under_s3prl = train_under_s3prl(
        *arguments, tmp_path / "b", start, monkeypatch, **options
    )
    stock, stock_losses = train_stock(
        *arguments, tmp_path / "c", start, monkeypatch, ours.expert, **options
    )
    assert len(losses) == STEPS
    assert losses == under_s3prl == stock_losses
    last = make_runner(
        still_hubert, settings(tiny_corpora, "spknorm", **options), tmp_path / "d",
        mode="evaluate", init_ckpt=str(tmp_path / "a" / f"states-{STEPS}.ckpt"),
    )  # fmt: skip
    for split in ("dev", "test"):
        last.evaluate(split)
    assert predictions_of(tmp_path / "d") == predictions_of(tmp_path / "b")
    assert predictions_of(tmp_path / "b") == predictions_of(tmp_path / "c")
    for other in (theirs, stock):
        assert weights_of(last).keys() == weights_of(other).keys()
        for name, weight in weights_of(other).items():
            assert torch.equal(weights_of(last)[name], weight), name


class Padless(nn.Module):
    """An upstream whose features do not depend on the padding: convolutions of frame width."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.frames = nn.Conv1d(1, 16, 320, stride=320)
        self.mix = nn.Linear(16, 16)

    def get_downsample_rates(self, _):
        return 320

    def forward(self, wavs):
        padded = nn.utils.rnn.pad_sequence(wavs, batch_first=True).unsqueeze(1)
        hidden = self.mix(self.frames(padded).transpose(1, 2).tanh())
        return {"hidden_states": [hidden], "last_hidden_state": hidden}


@pytest.fixture
def padless(monkeypatch):
    from s3prl import hub

    monkeypatch.setattr(hub, "padless", lambda **_: Padless(), raising=False)
    return "padless"


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["SNP", "TAP"])
@pytest.mark.parametrize(
    ("method", "accumulate"),
    [({}, 1), ({"adversary": "confusion", "schedule": "dann"}, 1), ({}, 2)],
)
def test_the_reversal_update_is_the_same_under_both_engines(
    tiny_corpora, tmp_path, start, monkeypatch, padless, strategy, method, accumulate
):
    """s3prl's Runner mixes both corpora in one batch; the crops are shorter than the utterances."""
    monkeypatch.setattr(tiny_runs, "FLAGS", {**tiny_runs.FLAGS, "upstream": padless})
    options = {
        "strategy": strategy,
        "update": "reversal",
        "method": {"speaker_lambda": 0.3, "ceiling": None, **method},
        "gradient_accumulate_steps": accumulate,
    }
    arguments = (tiny_corpora, None)
    ours, losses = train_ours(*arguments, tmp_path / "a", start, monkeypatch, **options)
    theirs, others = train_under_s3prl(*arguments, tmp_path / "b", start, monkeypatch, **options)
    assert len(losses) == STEPS * accumulate
    assert losses == pytest.approx(others, rel=MAX_RELATIVE)
    assert losses[-1] != pytest.approx(losses[0], rel=0.01)
    ours = make_runner(
        None, settings(tiny_corpora, "spknorm", **options), tmp_path / "c",
        mode="evaluate", init_ckpt=str(tmp_path / "a" / f"states-{STEPS}.ckpt"),
    )  # fmt: skip
    for name, weight in weights_of(theirs).items():
        difference = (weights_of(ours)[name] - weight).abs().max()
        assert difference <= MAX_RELATIVE * max(1.0, weight.abs().max()), name
