import pytest

from spknorm.cli import (
    arguments,
    main,
    overrides,
    run_downstream,
)
from spknorm.errors import ConfigError


def test_overrides_are_read_as_literals():
    text = (
        "config.optimizer.lr=1.0e-3 ,, config.optimizer.name='AdamW',,"
        "config.runner.eval_dataloaders=['dev', 'test'],,args.seed=3,,args.expname=a=b,,"
        "config.a=None"
    )
    assert overrides.parse_overrides(text) == [
        (("config", "optimizer", "lr"), 1e-3),
        (("config", "optimizer", "name"), "AdamW"),
        (("config", "runner", "eval_dataloaders"), ["dev", "test"]),
        (("args", "seed"), 3),
        (("args", "expname"), "a=b"),
        (("config", "a"), None),
    ]
    assert overrides.parse_overrides("None") == overrides.parse_overrides(None) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(0.9, [1, (2,)])", [0.9, [1, [2]]]),
        ("{'a': (1,)}", {"a": [1]}),
        ("{1: 2}", "{1: 2}"),
        ("{1, 2}", "{1, 2}"),
        ("b'x'", "b'x'"),
        ("1j", "1j"),
    ],
)
def test_values_are_what_a_configuration_file_can_hold(text, value):
    assert overrides.parse_overrides(f"config.a={text}") == [(("config", "a"), value)]


@pytest.mark.parametrize("value", ["__import__('os').system('touch canary')", "(" * 9999, "1 +"])
def test_what_is_no_literal_is_text_and_not_run(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert overrides.parse_overrides(f"config.a={value}") == [(("config", "a"), value)]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "piece",
    ["lr=3", "config.lr", "config=3", "args=3", "args.a.b=3", "config..a=1", "=", "config.=1"],
)
def test_a_malformed_override_is_named(piece):
    with pytest.raises(ConfigError) as caught:
        overrides.parse_overrides(f"args.seed=1,,{piece}")
    assert str(caught.value) == (
        f"`-o`: `{piece}` is not of the form config.a.b=value or args.x=value "
        "(pieces are separated by `,,`)."
    )


def test_an_override_makes_sections_but_not_out_of_values():
    config = {"optimizer": {"lr": 1, "groups": None}}
    changes = overrides.parse_overrides("config.optimizer.groups.gate.lr=2,,config.new.a=3")
    overrides.apply_to_config(changes, config)
    assert config == {"optimizer": {"lr": 1, "groups": {"gate": {"lr": 2}}}, "new": {"a": 3}}
    with pytest.raises(ConfigError) as caught:
        overrides.apply_to_config(overrides.parse_overrides("config.optimizer.lr.x=1"), config)
    assert str(caught.value) == (
        "`-o`: `config.optimizer.lr` is a single value, so that `config.optimizer.lr.x` cannot be "
        "set."
    )


def test_an_unknown_argument_is_named_with_the_nearest():
    args = arguments.parse([])
    with pytest.raises(ConfigError) as caught:
        overrides.apply_to_args(overrides.parse_overrides("args.sead=1"), args)
    assert str(caught.value) == "`-o`: there is no argument `args.sead`. Did you mean `args.seed`?"


@pytest.mark.parametrize("before", [[], ["doctor"]])
def test_a_second_override_option_is_refused(before, capsys):
    argv = [*before, "-o", "config.a=1", "--override", "config.b=2"]
    assert (main if before else run_downstream)(argv) == 2
    assert "`-o` is given more than once, and all but the last would be dropped" in (
        capsys.readouterr().err
    )
