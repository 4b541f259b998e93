"""Every documented choice of every setting, with its least and with all its options."""

import importlib
import inspect
import typing

import pytest
import torch

from spknorm import schema
from spknorm.config import options as tables
from spknorm.config import parse
from spknorm.config.options import DEEP_MODELS, HEADS, OPTIMIZERS, POOLINGS, SCHEDULERS, SPECAUG
from spknorm.errors import ConfigError
from spknorm.method.adversaries import ADVERSARIES
from spknorm.method.emotion_heads import ACTIVATIONS, make_emotion_head
from spknorm.method.model import Heads
from spknorm.method.optim.optimizers import OPTIMIZERS as TORCH_OPTIMIZERS
from spknorm.runner.setup import make_schedulers

MODELRC = "config.downstream_expert.modelrc"
DEEP = {"hidden_dim": 8, "kernel_size": 5, "padding": 2, "pooling": 5, "dropout": 0.4}
NET = {"select": "FrameLevel", "FrameLevel": {"hiddens": [5, 3], "activation": "GELU"}}
LEAST_AND_ALL = [
    ("UtteranceLevel", {}),
    *(("UtteranceLevel", {"pooling": pooling}) for pooling in POOLINGS),
    *(("UtteranceLevel", {"pooling": "AttentivePooling", "activation": a}) for a in ACTIVATIONS),
    ("UtteranceLevel", {"pre_net": None, "post_net": {"select": "FrameLevel"}}),
    (
        "UtteranceLevel",
        {"pooling": "AttentivePooling", "activation": "Tanh", "pre_net": NET, "post_net": NET},
    ),
    *(("DeepModel", {"model_type": model, **DEEP}) for model in DEEP_MODELS),
    ("NonLinearProjection", {}),
    ("NonLinearProjection", {"dropout": 0.1}),
]


def modelrc(select, options):
    return {"downstream_expert": {"modelrc": {"select": select, select: options}}}


def choices(kind, field):
    return typing.get_args(typing.get_type_hints(kind)[field])


@pytest.mark.parametrize(("select", "options"), LEAST_AND_ALL)
@pytest.mark.parametrize("frames", [(1, 1), (3, 40), (70, 120)])
def test_each_head_works_with_its_least_and_with_all_its_options(select, options, frames):
    parse(modelrc(select, options))
    heads = Heads(
        8,
        num_emotions=4,
        num_speakers=0,
        strategy="none",
        projector_dim=6,
        select=select,
        select_options=options,
    )
    features = [torch.randn(n, 8) for n in frames]
    prediction = heads.emotion(features, torch.tensor([0, 3]))
    prediction.loss.backward()
    assert prediction.logits.shape == (2, 4)
    assert torch.isfinite(prediction.logits).all()


def test_the_tables_are_those_of_the_classes_themselves():
    heads = importlib.import_module("s3prl.downstream.model")
    deep = importlib.import_module("s3prl.downstream.emotion.model")
    schedulers = importlib.import_module("s3prl.schedulers")
    specaug = importlib.import_module("s3prl.downstream.specaug").SpecAug
    ours = {"input_dim", "output_dim", "output_class_num", "kwargs", "last_epoch", "self"}
    ours |= {"optimizer", "num_training_steps"}

    def taken(function):
        parameters = inspect.signature(function).parameters.values()
        own = [one for one in parameters if one.name not in ours]
        return {one.name for one in own}, {one.name for one in own if one.default is one.empty}

    def of_table(table):
        return set(table), {name for name, option in table.items() if option.required}

    assert of_table(HEADS["UtteranceLevel"]) == taken(heads.UtteranceLevel)
    for model in DEEP_MODELS:
        names, required = taken(getattr(deep, model))
        assert of_table(HEADS["DeepModel"]) == (names | {"model_type"}, required | {"model_type"})
    assert of_table(SPECAUG) == taken(specaug)
    for name, table in SCHEDULERS.items():
        assert of_table(table) == taken(getattr(schedulers, f"get_{name}"))
    assert set(SCHEDULERS) == {
        name.removeprefix("get_")
        for name in vars(schedulers)
        if name.startswith("get_") and name != "get_scheduler"
    }
    assert set(OPTIMIZERS) == set(TORCH_OPTIMIZERS)
    for name, options in OPTIMIZERS.items():
        known = set(inspect.signature(getattr(torch.optim, name)).parameters)
        known -= {"eps"} if name == "Adafactor" else set()  # of two parts: no number
        assert set(options) == known & {"momentum", "betas", "eps", "fused"}
    assert tuple(ACTIVATIONS) == tables.ACTIVATIONS
    assert set(HEADS) == set(choices(schema.ModelConfig, "select"))
    assert tuple(ACTIVATIONS) == choices(schema.GateConfig, "activation")
    assert tuple(OPTIMIZERS) == choices(schema.OptimizerConfig, "torch_optim_name")


@pytest.mark.parametrize("model", DEEP_MODELS)
@pytest.mark.parametrize("missing", ["model_type", *DEEP])
def test_what_a_deep_model_lacks_is_named_with_its_path(model, missing):
    options = {"model_type": model, **DEEP}
    del options[missing]
    what = HEADS["DeepModel"][missing].what
    with pytest.raises(ConfigError) as caught:
        parse(modelrc("DeepModel", options))
    of = "DeepModel" if missing == "model_type" else model
    assert str(caught.value) == (
        f"{of} cannot do without `{MODELRC}.DeepModel.{missing}` ({what}): add what is missing."
    )
    with pytest.raises(ConfigError):
        make_emotion_head("DeepModel", 6, 4, options)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            modelrc("DeepModel", {}),
            "DeepModel cannot do without "
            f"`{MODELRC}.DeepModel.model_type` (one of CNNSelfAttention, FCN, DeepNet), "
            f"`{MODELRC}.DeepModel.hidden_dim` (a whole number of 1 or more), "
            f"`{MODELRC}.DeepModel.kernel_size` (a whole number of 1 or more), "
            f"`{MODELRC}.DeepModel.padding` (a whole number of 0 or more), "
            f"`{MODELRC}.DeepModel.pooling` (a whole number of 1 or more), "
            f"`{MODELRC}.DeepModel.dropout` (a number between 0 and 1): add what is missing.",
        ),
        (
            modelrc("DeepModel", {"model_type": "FCN", **DEEP, "poolin": 3}),
            f"`{MODELRC}.DeepModel.poolin` is not an option of FCN. Did you mean `pooling`? Known "
            "here: model_type, hidden_dim, kernel_size, padding, pooling, dropout.",
        ),
        (
            modelrc("DeepModel", {"model_type": "CNNSelfAttention", **DEEP, "kernel_size": 3}),
            f"`{MODELRC}.DeepModel.kernel_size` must be 2 * padding + 1, since s3prl's mask of "
            "frames has no other length, but is 3 with padding 2.",
        ),
        (
            modelrc("UtteranceLevel", {"polling": "MeanPooling"}),
            f"`{MODELRC}.UtteranceLevel.polling` is not an option of UtteranceLevel. Did you mean "
            "`pooling`? Known here: pooling, activation, pre_net, post_net.",
        ),
        (
            modelrc("UtteranceLevel", {"pooling": "StatsPooling"}),
            f"`{MODELRC}.UtteranceLevel.pooling` must be one of MeanPooling, AttentivePooling, but "
            "is `'StatsPooling'` (str).",
        ),
        (
            modelrc("UtteranceLevel", {"post_net": None}),
            f"`{MODELRC}.UtteranceLevel.post_net` must be a mapping with `select: FrameLevel`, but "
            "is `None` (NoneType).",
        ),
        (
            modelrc(
                "UtteranceLevel",
                {"pre_net": {"select": "FrameLevel", "FrameLevel": {"hidden": [3]}}},
            ),
            f"`{MODELRC}.UtteranceLevel.pre_net.FrameLevel.hidden` is not an option of FrameLevel. "
            "Did you mean `hiddens`? Known here: hiddens, activation.",
        ),
        (
            modelrc("NonLinearProjection", {"dropout": 1.5}),
            f"`{MODELRC}.NonLinearProjection.dropout` must be a number between 0 and 1, but is "
            "`1.5` (float).",
        ),
        (
            {"optimizer": {"torch_optim_name": "SGD", "betas": [0.9, 0.99]}},
            "`config.optimizer.betas` is not an option of SGD, which takes momentum, fused: leave "
            "it out.",
        ),
        (
            {"optimizer": {"betas": [0.9]}},
            "`config.optimizer.betas` must be a list of two numbers, but is [0.9].",
        ),
        (
            {"scheduler": {"name": "cosine_schedule_with_warmup"}},
            "cosine_schedule_with_warmup cannot do without `config.scheduler.num_warmup_steps` (a "
            "whole number of 0 or more): add what is missing.",
        ),
        (
            {"scheduler": {"name": "noam_decay_schedule_with_warmup", "num_warmup_steps": 0}},
            "`config.scheduler.num_warmup_steps` must be a whole number of 1 or more, but is `0` "
            "(int).",
        ),
        (
            {
                "scheduler": {
                    "name": "polynomial_decay_schedule_with_warmup",
                    "num_warmup_steps": 3,
                    "lr_end": 1.0,
                }
            },
            "`config.scheduler.lr_end` (1e-7 unless given) must be below config.optimizer.lr "
            "(0.0001), but is 1.0.",
        ),
        (
            {
                "runner": {"engine": "s3prl"},
                "downstream_expert": {"spknorm": {"strategy": "none"}},
                "specaug": {
                    "apply_time_warp": False,
                    "apply_freq_mask": False,
                    "apply_time_mask": False,
                },
            },
            "`config.specaug` does nothing, since apply_time_warp, apply_freq_mask, "
            "apply_time_mask are all false: set one to true, or leave the section out.",
        ),
    ],
)
def test_what_is_missing_or_too_much_is_one_text(mapping, message):
    with pytest.raises(ConfigError) as caught:
        parse(mapping)
    assert str(caught.value) == message


ALL_OF_OPTIMIZER = {"momentum": 0.9, "betas": [0.9, 0.99], "eps": 1e-8, "fused": False}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("whole", [False, True])
def test_each_optimiser_takes_its_least_and_all_its_options(name, whole):
    options = {key: ALL_OF_OPTIMIZER[key] for key in OPTIMIZERS[name]} if whole else {}
    section = {"torch_optim_name": name, "lr": 0.1, "weight_decay": 0.01, **options}
    parse({"optimizer": section})
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = TORCH_OPTIMIZERS[name]([weight], lr=0.1, weight_decay=0.01, **options)
    weight.sum().backward()
    optimizer.step()
    assert (weight < 1).all()


MORE_OF_SCHEDULER = {
    "cosine_schedule_with_warmup": {"num_cycles": 0.75},
    "cosine_with_hard_restarts_schedule_with_warmup": {"num_cycles": 3},
    "polynomial_decay_schedule_with_warmup": {"lr_end": 1e-6, "power": 2.0},
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("whole", [False, True])
def test_each_scheduler_runs_through_with_its_least_and_all_its_options(name, whole):
    section = {"name": name, "num_warmup_steps": 1}
    section |= MORE_OF_SCHEDULER.get(name, {}) if whole else {}
    parse({"scheduler": section, "runner": {"total_steps": 6}})
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1e-4)
    [scheduler] = make_schedulers(section, {"emotion": optimizer}, total_steps=6).values()
    rates = []
    for _ in range(6):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert all(0 <= rate <= 1e-4 for rate in rates)


def test_a_polynomial_decay_ends_at_the_rate_that_was_asked_for():
    from spknorm.method.updates import Groups, Update

    heads = torch.nn.Linear(2, 2)
    config = parse(
        {
            "optimizer": {"lr": 1e-4},
            "downstream_expert": {"spknorm": {"strategy": "none"}},
        }
    )
    update = Update(
        Groups([], [], list(heads.parameters()), []),
        optimizer=config.optimizer,
        method=config.downstream_expert.spknorm,
    )
    section = {
        "name": "polynomial_decay_schedule_with_warmup",
        "num_warmup_steps": 0,
        "lr_end": 1e-6,
    }
    scheduler = make_schedulers(section, update.optimizers, total_steps=4)["emotion"]
    for _ in range(4):
        update.emotion.step()
        scheduler.step()
    assert scheduler.get_last_lr() == [pytest.approx(1e-6)]


def test_each_adversary_of_the_schema_exists():
    assert set(ADVERSARIES) == set(choices(schema.MethodConfig, "adversary"))
    for name in ADVERSARIES:
        heads = Heads(
            8, num_emotions=4, num_speakers=3, strategy="TAP", adversary=name, projector_dim=6
        )
        features = [torch.randn(n, 8, requires_grad=True) for n in (3, 5)]
        heads.speaker(features, torch.tensor([0, 2]), coefficient=1.0).loss.backward()
        assert all(one.grad is not None for one in features)


SPECAUG_ALL = {
    "apply_time_warp": True,
    "time_warp_window": 5,
    "time_warp_mode": "bilinear",
    "apply_freq_mask": True,
    "freq_mask_width_range": [0, 3],
    "num_freq_mask": 2,
    "apply_time_mask": True,
    "time_mask_width_range": [0, 4],
    "num_time_mask": 1,
    "adaptive_number_ratio": 0.04,
    "adaptive_size_ratio": 0.04,
    "max_n_time_masks": 2,
    "adaptive": False,
}


@pytest.mark.parametrize("options", [{"num_freq_mask": 2}, SPECAUG_ALL])
def test_spec_augment_takes_its_options(options):
    from s3prl.downstream.specaug import SpecAug

    parse(
        {
            "runner": {"engine": "s3prl"},
            "downstream_expert": {"spknorm": {"strategy": "none"}},
            "specaug": options,
        }
    )
    features, _ = SpecAug(**options)([torch.randn(150, 40), torch.randn(130, 40)])
    assert [len(frames) for frames in features] == [150, 130]
