"""One answer to the question whether a setting matters, stated at its field."""

import dataclasses
import typing
from dataclasses import replace
from typing import Annotated

import pytest
from fake_results import make_bench

from spknorm import config, runs
from spknorm.config import effects
from spknorm.errors import ConfigError
from spknorm.report.methods import with_methods
from spknorm.schema import TaskConfig
from spknorm.schema.marks import LENGTH, NUMBERS, PLACE, REPEAT, Effect, Range

DEV = "downstream_expert.datarc.dev"
FOLD_PATH = "downstream_expert.datarc.test_fold"
ARGS = {"upstream": "hubert_base", "upstream_trainable": True, "seed": 1}


def task(runner=None, **expert):
    return config.parse({"runner": runner or {}, "downstream_expert": expert})


def method(**changes):
    return task(spknorm=changes)


def test_every_setting_states_its_effect_and_every_condition_names_a_setting_and_its_values():
    known = effects.settings()
    assert len(known) > 95
    free = "downstream_expert.modelrc.UtteranceLevel"
    assert {path.removesuffix(".pooling") for path in effects.flat({})} == set(known)
    assert effects.flat({}) == effects.flat(TaskConfig())
    assert effects.flat({})[f"{free}.pooling"] == "MeanPooling"
    for path, setting in known.items():
        assert isinstance(setting.effect, Effect), path
        for when in setting.conditions:
            for other, values in when.alternatives.items():
                assert other in known, (path, other)
                for value in (value for value in values if value != "relative"):
                    assert not isinstance(value, list)
                    _set(other, value)


def _set(path, value):
    """Parse a configuration with one setting, which raises for a value that is none of its own."""
    section, _, name = path.rpartition(".")
    mapping = {name: value}
    for key in reversed(section.split(".")):
        mapping = {key: mapping}
    try:
        config.parse(mapping)
    except ConfigError as error:
        assert "must be one of" not in str(error)


def test_a_setting_that_states_no_effect_is_a_fault_of_ours():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Section:
        unmarked: Annotated[int, Range(least=0)] = 1

    with pytest.raises(AssertionError, match=r"Section\.unmarked must state its effect once"):
        dict(effects._of_class(Section, "", ()))


def test_every_default_is_in_its_range():
    assert config.parse(config.to_mapping(TaskConfig())) == TaskConfig()


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            {"optimizer": {"groups": {"gate": {"lr": -1}}}},
            "`config.optimizer.groups.gate.lr` must be 0 or more, or null, but is `-1.0` (float).",
        ),
        (
            {"optimizer": {"groups": {"gate": {"lr": 1e38}}}},
            "`config.optimizer.groups.gate.lr` is 1e+38, but 1e+30 is the most that weights of 32 "
            "bits can be moved by.",
        ),
        (
            {"runner": {"evaluate_ratio": 0}},
            "`config.runner.evaluate_ratio` must be above 0 and at most 1, but is `0.0` (float).",
        ),
        (
            {"downstream_expert": {"modelrc": {"speaker_head": {"dropout": 1}}}},
            "`config.downstream_expert.modelrc.speaker_head.dropout` must be 0 or more and below "
            "1, but is `1.0` (float).",
        ),
        (
            {"optimizer": {"betas": [0.9, 1.0]}},
            "`config.optimizer.betas` must be a list of numbers 0 or more and below 1, "
            "but is `[0.9, 1.0]` (list).",
        ),
        (
            {"runner": {"early_stopping": 0}},
            "`config.runner.early_stopping` must be above 0, or null, but is `0` (int).",
        ),
        (
            {"downstream_expert": {"modelrc": {"speaker_head": {"hidden": [8, 0]}}}},
            "`config.downstream_expert.modelrc.speaker_head.hidden` must be a list of numbers "
            "above 0, but is `[8, 0]` (list).",
        ),
    ],
)
def test_a_value_out_of_its_range_is_refused_with_the_range(mapping, message):
    with pytest.raises(ConfigError) as error:
        config.parse(mapping)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "other",
    [
        method(speaker_lambda=0.0),
        task(datarc={"protocol": "sd"}),
        task(datarc={"corpus": "manifest", "manifest": "m.csv"}),
        task(datarc={"train_turns": "improvised"}),
        task(speaker_corpus={"max_speakers": 10}),
        task({"total_steps": 7}),
        config.parse({"upstream": {"packed": False}}),
        config.parse({"optimizer": {"groups": {"upstream": {"lr": 1e-5}}}}),
        config.parse(
            {"scheduler": {"name": "noam_decay_schedule_with_warmup", "num_warmup_steps": 2}}
        ),
    ],
    ids=str,
)
def test_two_runs_that_differ_in_what_changes_numbers_are_of_two_methods(other):
    assert effects.identity(other, ARGS) != effects.identity(TaskConfig(), ARGS)
    assert effects.differing((TaskConfig(), ARGS), (other, ARGS))


@pytest.mark.parametrize("name", ["upstream", "upstream_ckpt", "upstream_layer_selection"])
def test_so_are_two_runs_of_different_upstreams_or_layers(name):
    other = {**ARGS, name: "another"}
    assert effects.identity(TaskConfig(), ARGS) != effects.identity(TaskConfig(), other)
    assert list(effects.differing((TaskConfig(), ARGS), (TaskConfig(), other))) == [f"args.{name}"]


@pytest.mark.parametrize(
    ("other", "args"),
    [
        (task(datarc={"num_workers": 3, "root": "/elsewhere", "pre_load": False}), {}),
        (task({"log_step": 1, "max_keep": 3, "on_config_change": "accept"}), {}),
        (config.parse({"upstream": {"cache": "off", "cache_dir": "/x"}}), {}),
        (config.parse({"optimizer": {"groups": {}}}), {}),
        (task(datarc={"demo_rho": 0.1, "draw": 3, "base": "sd"}), {}),  # neither demo nor draws
        (task(modelrc={"gate": {"depth": 2}, "DeepModel": {"model_type": "RNN"}}), {}),  # TAP
        (config.parse({"optimizer": {"groups": {"gate": {"lr": 1.0}}}}), {}),
        (TaskConfig(), {"device": "cuda"}),
        (TaskConfig(), {"downstream_variant": "fold1"}),  # what it is without -v
    ],
    ids=str,
)
def test_what_cannot_matter_is_no_difference(other, args):
    args = {**ARGS, **args}
    assert effects.identity(other, args) == effects.identity(TaskConfig(), ARGS)
    assert effects.differing((TaskConfig(), ARGS), (other, args)) == {}


def test_without_an_adversary_its_settings_and_its_corpus_do_not_matter():
    plain = method(strategy="none")
    other = task(
        spknorm={"strategy": "none", "speaker_lambda": 3.0, "ceiling": None},
        speaker_corpus={"corpus": "librispeech", "max_seconds": 1.0},
        modelrc={"speaker_head": {"hidden": []}},
    )
    assert effects.differing((plain, ARGS), (other, ARGS)) == {}
    erased = method(strategy="none", erasure="leace")
    refitted = task(
        spknorm={"strategy": "none", "erasure": "leace"}, speaker_corpus={"max_speakers": 3}
    )
    assert effects.differing((erased, ARGS), (refitted, ARGS)) == {
        "downstream_expert.speaker_corpus.max_speakers": (None, 3)
    }


def test_lambda_does_not_matter_under_adaptive_nor_the_ramp_of_a_constant_schedule():
    sides = [
        method(update="adaptive", ascent_lr=1e-6, speaker_lambda=value, ramp=value)
        for value in (0.1, 0.2)
    ]
    assert effects.differing((sides[0], ARGS), (sides[1], ARGS)) == {}


def test_folds_seeds_and_draws_repeat_a_method_and_are_differences_all_the_same():
    other = task(datarc={"test_fold": "fold3"})
    assert effects.identity(other, {**ARGS, "seed": 2}) == effects.identity(TaskConfig(), ARGS)
    assert effects.differing((TaskConfig(), ARGS), (other, {**ARGS, "seed": 2})) == {
        "args.seed": (1, 2),
        "fold": ("fold1", "fold3"),
    }


def test_a_run_may_be_gone_on_with_for_longer():
    longer = task({"total_steps": 60000})
    assert effects.differing((TaskConfig(), ARGS), (longer, ARGS), going_on=True) == {}


def test_settings_by_path_are_those_of_a_mapping_with_defaults_filled_in():
    values = effects.flat(
        {"optimizer": {"lr": 1, "groups": None}, "scheduler": {"name": "x"}, "of_later": {"a": 2}}
    )
    assert values["optimizer.lr"] == 1
    assert values["optimizer.groups.gate.lr"] is None
    assert "optimizer.groups" not in values
    assert (values["scheduler.name"], values["of_later.a"]) == ("x", 2)
    assert values["downstream_expert.modelrc.speaker_head.hidden"] == [256]
    assert effects.effect_of("of_later.a") is NUMBERS  # nobody knows, so it counts
    assert effects.effect_of("scheduler.name") is NUMBERS
    assert effects.effect_of("runner.total_steps") is LENGTH
    assert effects.effect_of("downstream_expert.datarc.root") is PLACE
    assert effects.effect_of("args.seed") is effects.effect_of(effects.FOLD) is REPEAT


def test_whole_numbers_and_the_last_bits_of_floats_are_no_difference():
    one, other = {"optimizer": {"lr": 0.1 + 0.2}}, {"optimizer": {"lr": 0.3}}
    assert effects.differing((one, ARGS), (other, ARGS)) == {}
    one, other = {"runner": {"fp16": True}}, {"runner": {"fp16": 1}}
    assert effects.differing((one, ARGS), (other, ARGS))
    assert typing.get_type_hints(TaskConfig)  # the marks hide no type


def _nested(values):
    mapping = {}
    for path, value in values.items():
        *sections, name = path.split(".")
        place = mapping
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return mapping


def _another(value):
    """Return another value of the same kind; that no schema may take it does not matter here."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str | list):
        return value + type(value)("x")
    return {"name": "x"} if isinstance(value, dict) else "x"


def _two_runs(path):
    """Return two runs, where a setting matters, that differ in it alone: (config, args) each."""
    if path.startswith("args."):
        name, hub = path.removeprefix("args."), {"hub": "huggingface", "upstream_trainable": True}
        return ({}, {**ARGS, **hub}), (
            {},
            {**ARGS, **hub, name: _another({**ARGS, **hub}.get(name))},
        )
    setting, needed = effects.settings()[path], {}
    for when in reversed(setting.conditions):
        other, values = next(iter(when.alternatives.items()))
        needed[other] = values[0]
    default = "sd" if path == DEV else setting.default  # auto is what it comes to
    given = {"name": "x"} if path in ("scheduler", "specaug") else _another(setting.default)
    sides = (needed | {path: value} for value in (default, given))
    return tuple((_nested(side), ARGS) for side in sides)


def _fields(config, args):
    """Return the fields of a result that say what a setting says, as `result_of` fills them."""
    method = effects.flat(config)
    names = ("strategy", "update", "speaker_lambda")
    fields = {name: method[f"downstream_expert.spknorm.{name}"] for name in names}
    task = {"task": str(args.get("downstream")), "upstream": args["upstream"]}
    return {**fields, **task, "frozen": not args["upstream_trainable"]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A benchmark's folder with two runs of one method, on two folds."""
    folder = make_bench(
        tmp_path_factory.mktemp("runs"), methods=[("TAP", 1e-3)], num_folds=2, probes=False,
        features=False,
    )  # fmt: skip
    return runs.read(folder)


@pytest.mark.parametrize(
    "path", [*effects.settings(), *(f"args.{one}" for one in effects.ARGUMENTS)]
)
def test_any_two_runs_that_differ_in_one_setting_are_averaged_only_if_it_changes_nothing(
    path, finished
):
    one, other = _two_runs(path)
    counts = effects.effect_of(path) in (NUMBERS, LENGTH)
    assert (effects.identity(*one) != effects.identity(*other)) is counts
    repeats = effects.effect_of(path) is REPEAT
    told = {key[: len(path)] for key in effects.differing(one, other)}
    told -= {DEV[: len(path)]} - {path}  # auto is another dev under another protocol or corpus
    assert told == ({path.replace(FOLD_PATH, effects.FOLD)} if counts or repeats else set())
    pair = [
        replace(run, result=replace(run.result, config=config, args=args, **_fields(config, args)))
        for run, (config, args) in zip(finished.runs, (one, other), strict=True)
    ]
    methods = with_methods(replace(finished, runs=tuple(pair)))["method"]
    assert (len({*methods}) == 2) is counts
    assert len({(one.task, one.upstream, one.label) for one in methods}) == len({*methods})
