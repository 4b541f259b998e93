import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spknorm import bench, config
from spknorm.cli import overrides
from spknorm.config.yaml_values import load_yaml, read_value
from spknorm.errors import ConfigError

SAME_EVERYWHERE = [
    ("1e-3", 1e-3),
    ("1.0e3", 1e3),
    ("-2E+5", -2e5),
    ("3", 3),
    ("0x1f", 31),
    ("010", "010"),
    ("1:30", "1:30"),
    ("2026-01-01", "2026-01-01"),
    ("on", True),
    ("Off", False),
    ("yes", True),
    ("NO", False),
    ("true", True),
    ("False", False),
    ("null", None),
    ("None", None),
    ("~", None),
    ("none", "none"),
    ("[dev, off]", ["dev", False]),
    ("{lr: 1e-3}", {"lr": 1e-3}),
    ("'off'", "off"),
    ("fold1", "fold1"),
]


@pytest.mark.parametrize(("text", "value"), SAME_EVERYWHERE)
def test_a_file_and_an_override_are_read_alike(text, value, tmp_path):
    (tmp_path / "x.yaml").write_text(f"key: {text}\n")
    from_file = load_yaml(tmp_path / "x.yaml")["key"]
    [(_, from_override)] = overrides.parse_overrides(f"config.key={text}")
    assert (from_file, type(from_file)) == (value, type(value))
    assert (from_override, type(from_override)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "line", "key", "first"),
    [
        ("runner: {a: 1}\noptimizer: {}\nrunner: {b: 2}\n", 3, "runner", 1),
        ("a:\n  b:\n    c: 1\n    d: 2\n    c: 3\n", 5, "c", 3),
        ("a: [1, {b: 1, b: 2}]\n", 1, "b", 1),
        ("a: {off: 1,\n  no: 2}\n", 2, "False", 1),
        ("a: 1\n'a': 2\n", 2, "a", 1),
    ],
)
def test_a_key_that_is_there_twice_is_an_error_with_both_lines(text, line, key, first, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_yaml(path)
    assert str(caught.value) == (
        f"{path}, line {line}: the key `{key}` is already in line {first}, and one of the two "
        "would be dropped: merge them or rename one."
    )


def test_an_anchor_s_keys_may_be_overridden(tmp_path):
    (tmp_path / "x.yaml").write_text(
        "base: {inner: &a {x: 1, y: 2}}\nother: &b {<<: *a, x: 3}\nthird: {<<: *b, y: 4}\n"
    )
    content = load_yaml(tmp_path / "x.yaml")
    assert content["other"] == {"x": 3, "y": 2}
    assert content["third"] == {"x": 3, "y": 4}


def parsed(text, tmp_path, door):
    """Return the configuration that a file or `-o` asks for with `a.b.c: value`."""
    key, value = text.split("=")
    if door == "override":
        mapping = {}
        overrides.apply_to_config(overrides.parse_overrides(f"config.{text}"), mapping)
        return config.parse(mapping)
    *sections, name = key.split(".")
    written = "".join(f"{'  ' * depth}{section}:\n" for depth, section in enumerate(sections))
    (tmp_path / "x.yaml").write_text(f"{written}{'  ' * len(sections)}{name}: {value}\n")
    return config.parse(load_yaml(tmp_path / "x.yaml"))


@pytest.mark.parametrize("door", ["file", "override"])
@pytest.mark.parametrize(
    ("key", "words", "value"),
    [
        ("upstream.cache", ("off", "false", "no", "'off'"), "off"),
        ("upstream.cache", ("auto", "on", "true"), "auto"),
        ("upstream.packed", ("off", "false", "No", "'false'"), False),
        ("upstream.packed", ("on", "True", "yes"), True),
        ("downstream_expert.spknorm.strategy", ("none", "None", "null", "off"), "none"),
        ("downstream_expert.spknorm.erasure", ("none", "no"), "none"),
        ("runner.early_stopping", ("none", "None", "null", "~"), None),
        ("downstream_expert.datarc.root", ("null", "none"), None),
        ("downstream_expert.spknorm.speaker_lambda", ("1e-3", "1.0e-3", ".001", "'1e-3'"), 1e-3),
        ("runner.total_steps", ("3e4", "30000", "30_000"), 30000),
    ],
)
def test_a_word_means_to_a_setting_what_the_setting_can_be(key, words, value, door, tmp_path):
    for word in words:
        found = parsed(f"{key}={word}", tmp_path, door)
        for name in key.split("."):
            found = getattr(found, name)
        assert (found, type(found)) == (value, type(value)), word


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("upstream.packed=maybe", "must be true or false, but is `'maybe'` (str)."),
        ("upstream.cache=null", "must be one of auto, off, but is `None` (NoneType)."),
        ("downstream_expert.spknorm.strategy=on", "but is `True` (bool)."),
        ("runner.clip=off", "must be one of auto, stage, joint, group, but is `False` (bool)."),
        ("downstream_expert.speaker_corpus.label=no", "must be text, but is `False` (bool)."),
        ("runner.total_steps=2.5", "must be a whole number, but is `2.5` (float)."),
    ],
)
def test_a_word_that_means_nothing_to_a_setting_is_refused(text, message, tmp_path):
    for door in ("file", "override"):
        with pytest.raises(ConfigError) as caught:
            parsed(text, tmp_path, door)
        assert str(caught.value).endswith(message)


@given(st.text(max_size=40))
def test_any_text_behind_an_override_is_a_value(text):
    assert isinstance(read_value(text), str | int | float | list | dict | None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [*a]\n", "line 1: not valid YAML (an alias stands within what it stands for)."),
        ("x: 1\nb: &b\n  c: {d: *b}\n", "line 2: not valid YAML (an alias stands within what it"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)),
            "not valid YAML (it is of more than 100000 values, its aliases written out).",
        ),
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n",
            "x.yaml is a pointer of git-lfs, not the file itself: run `git lfs pull` where it was",
        ),
    ],
)
def test_what_would_never_end_or_is_another_file_is_one_message(text, message, tmp_path):
    text = text.replace("*a0", "*a")
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_yaml(tmp_path / "x.yaml")
    assert message in str(caught.value)


def test_an_alias_of_what_is_finished_is_read(tmp_path):
    (tmp_path / "x.yaml").write_text("a: &a {b: 1}\nc: [*a, *a]\nd: {<<: *a, e: 2}\n")
    assert load_yaml(tmp_path / "x.yaml") == {
        "a": {"b": 1}, "c": [{"b": 1}, {"b": 1}], "d": {"b": 1, "e": 2}
    }  # fmt: skip


def test_a_folder_and_a_link_to_itself_are_no_settings(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\): name a file"):
        load_yaml(tmp_path)
    os.mkfifo(tmp_path / "pipe.yaml")  # which nobody writes to
    for path in (tmp_path / "pipe.yaml", "/dev/zero"):
        with pytest.raises(ConfigError, match=r"cannot be read \(it is a pipe or a device, not a"):
            load_yaml(path)
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    with pytest.raises(ConfigError, match=r"sections such as `runner:`, but found nothing\.$"):
        load_yaml(tmp_path / "empty.yaml")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    for read in (load_yaml, bench.expand):
        with pytest.raises(ConfigError, match=r"loop\.yaml cannot be read \(Too many levels"):
            read(tmp_path / "loop.yaml")
