import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spknorm import config
from spknorm.errors import ConfigError, MissingError
from spknorm.schema import TaskConfig

TASK_YAML = Path(__file__).parents[1] / "downstream" / "emotion_spknorm" / "config.yaml"


def expert(**sections):
    return {"downstream_expert": sections}


def test_the_task_trains_with_a_strength_that_is_free_of_scale():
    method = config.parse(config.load_yaml(TASK_YAML)).downstream_expert.spknorm
    assert (method.strategy, method.update, method.adversary) == ("TAP", "relative", "confusion")
    assert method.speaker_lambda == 3.0
    assert method.goes_by_loss and not method.preconditions


def test_a_method_that_names_nothing_is_the_paper_as_printed():
    method = config.parse({}).downstream_expert.spknorm
    assert (method.update, method.speaker_lambda) == ("literal", 1e-3)


def test_a_configuration_survives_the_way_to_plain_values_and_back():
    parsed = config.parse(config.load_yaml(TASK_YAML))
    assert config.parse(config.to_mapping(parsed)) == parsed


def test_numbers_that_yaml_reads_as_text_are_numbers():
    parsed = config.parse({"optimizer": {"lr": "1e-4"}})
    assert parsed.optimizer.lr == 1e-4


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            {"runer": {}},
            "`config.runer` is not a known setting. Did you mean `runner`? Known here: "
            "downstream_expert, optimizer, runner, scheduler, specaug, upstream.",
        ),
        (
            expert(spknorm={"strategy": "tap"}),
            "`config.downstream_expert.spknorm.strategy` must be one of none, SNP, TAP, "
            "but is `'tap'` (str).",
        ),
        (
            {"runner": {"total_steps": 2.5}},
            "`config.runner.total_steps` must be a whole number, but is `2.5` (float).",
        ),
        (
            {"downstream_expert": {"datarc": {"labels": "five"}}},
            "`config.downstream_expert.datarc.labels` must be auto, four, all or a mapping, but is "
            "`'five'` (str).",
        ),
        (
            {"downstream_expert": {"datarc": {"labels": ["neu"]}}},
            "`config.downstream_expert.datarc.labels` must be auto, four, all or a mapping, but is "
            "`['neu']` (list).",
        ),
        (
            {"runner": {"total_steps": True}},
            "`config.runner.total_steps` must be a whole number, but is `True` (bool).",
        ),
        (
            {"optimizer": {"lr": "fast"}},
            "`config.optimizer.lr` must be a number, but is `'fast'` (str).",
        ),
        (
            {"optimizer": {"lr": -1.0}},
            "`config.optimizer.lr` must be 0 or more, but is `-1.0` (float).",
        ),
        (
            {"optimizer": {"lr": float("inf")}},
            "`config.optimizer.lr` must be a finite number, but is `inf` (float).",
        ),
        (
            {"runner": []},
            "`config.runner` must be a mapping, but is `[]` (list).",
        ),
        (
            expert(datarc={"valid_ratio": 1.5}),
            "`config.downstream_expert.datarc.valid_ratio` must be above 0 and below 1, "
            "but is `1.5` (float).",
        ),
        (
            expert(datarc={"valid_ratio": 1.0}),
            "`config.downstream_expert.datarc.valid_ratio` must be above 0 and below 1, "
            "but is `1.0` (float).",
        ),
        (
            expert(datarc={"roots": {"ravdess": 5}}),
            "`config.downstream_expert.datarc.roots.ravdess` must be text, but is `5` (int).",
        ),
        (
            {"runner": {"total_steps": 1e17}},
            "`config.runner.total_steps` must be a whole number, but is `1e+17` (float).",
        ),
        (
            {"runner": {"eval_dataloaders": ["dev", "train"]}},
            "`config.runner.eval_dataloaders[1]` must be one of dev, test, but is `'train'` (str).",
        ),
        (
            expert(spknorm={"update": "adaptive"}),
            "`config.downstream_expert.spknorm.update` is adaptive, which needs `ascent_lr`, the "
            "learning rate of its ascending Adam (1.0e-6 is a careful start).",
        ),
        (
            expert(spknorm={"ascent_lr": 1e-6}),
            "`config.downstream_expert.spknorm.ascent_lr` has no effect under update literal: "
            "leave it out, or choose update adaptive.",
        ),
        (
            expert(spknorm={"update": "relative", "ascent_clip": 0.1}),
            "`config.downstream_expert.spknorm.ascent_clip` has no effect under update relative: "
            "leave it out, or choose update literal.",
        ),
        (
            expert(spknorm={"relative_to": "loss", "adversary": "confusion"}),
            "`config.downstream_expert.spknorm.relative_to` has no effect under update literal: "
            "leave it out, or choose update relative.",
        ),
        (
            expert(spknorm={"update": "relative", "relative_to": "loss"}),
            "`config.downstream_expert.spknorm.relative_to` loss goes with adversary confusion or "
            "entropy: the paper's ascent has no end, of which an ascent could take a share.",
        ),
        (
            expert(spknorm={"ascent_direction": "raw"}),
            "`config.downstream_expert.spknorm.ascent_direction` has no effect under update "
            "literal: leave it out, or choose update relative.",
        ),
        (
            expert(datarc={"protocol": "low_resource"}),
            "`config.downstream_expert.datarc.samples_per_label` goes with low_resource alone: "
            "protocol is low_resource, samples_per_label is None.",
        ),
        (
            {"runner": {"engine": "s3prl"}},
            "s3prl's own Runner cannot do what `config.downstream_expert.spknorm.update` asks: "
            "set it to reversal, or set config.runner.engine to spknorm.",
        ),
        (
            {"runner": {"engine": "s3prl"}, "upstream": {"packed": False}},
            "`config.upstream` has no effect under engine s3prl: leave it out, or set "
            "config.runner.engine to spknorm.",
        ),
        (
            {"specaug": {}},
            "`config.specaug` has no effect under engine spknorm: leave it out, or set "
            "config.runner.engine to s3prl.",
        ),
    ],
)
def test_each_mistake_is_told_with_its_place_and_its_cure(mapping, message):
    with pytest.raises(ConfigError) as error:
        config.parse(mapping)
    assert str(error.value) == message


def test_a_missing_file_says_how_to_name_one(tmp_path):
    with pytest.raises(MissingError, match=r"Name one with -c\."):
        config.load_yaml(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runner:\n  a: [1,\n", r"line 3: not valid YAML"),
        ("- 1\n", "expected a mapping of sections"),
        ("a: !!python/object/apply:os.system [touch canary]\n", "not valid YAML"),
    ],
)
def test_yaml_that_is_none_names_file_and_line(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        config.load_yaml(path)
    assert str(path) in str(error.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.yaml"]


def test_merging_says_only_what_differs():
    base = {"runner": {"total_steps": 1, "log_step": 2}, "optimizer": {"lr": 1}}
    merged = config.merge(base, {"runner": {"log_step": 3}, "scheduler": None})
    assert merged == {
        "runner": {"total_steps": 1, "log_step": 3},
        "optimizer": {"lr": 1},
        "scheduler": None,
    }
    assert base["runner"]["log_step"] == 2


def test_every_setting_has_a_known_name():
    """The keys are a contract with people's files: to remove or rename one is to break them."""

    def keys(kind, prefix=""):
        for field in dataclasses.fields(kind):
            value = getattr(kind(), field.name)
            inner = dataclasses.is_dataclass(value)
            yield from (
                keys(type(value), f"{prefix}{field.name}.") if inner else [prefix + field.name]
            )

    assert sorted(keys(TaskConfig)) == (Path(__file__).parent / "settings.txt").read_text().split()


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
names = st.sampled_from(
    ["runner", "optimizer", "downstream_expert", "datarc", "spknorm", "lr", "total_steps", "groups"]
) | st.text(max_size=6)
mappings = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(names, mappings, max_size=4))
def test_no_mapping_raises_anything_but_a_config_error(mapping):
    try:
        parsed = config.parse(mapping)
    except ConfigError:
        return
    assert config.parse(config.to_mapping(parsed)) == parsed


@given(st.text(max_size=60))
def test_no_yaml_text_raises_anything_but_a_config_error(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("yaml") / "x.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        content = config.load_yaml(path)
    except ConfigError:
        return
    assert isinstance(content, dict)


def test_what_was_read_once_is_not_taken_for_what_is_wrong():
    assert config.parse({"runner": {"total_steps": 7}}) is config.parse(
        {"runner": {"total_steps": 7}, "scheduler": None}
    )
    for wrong in ({"runner": None}, {"runner": {"total_steps": "7 steps"}}, None):
        with pytest.raises(ConfigError):
            config.parse(wrong)
