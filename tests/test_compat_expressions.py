import subprocess  # noqa: F401  # what the texts below try to reach
from pathlib import Path  # noqa: F401  # likewise

import pytest
import tiny_upstreams
import torch

from spknorm.compat.expressions import read_conv_layers, read_expression
from spknorm.errors import CheckpointError, ConfigError


class Thing:
    layers = ("first", "second")

    def ask(self, text):
        return read_expression(text)


def test_names_attributes_and_positions_are_read_in_the_calling_function():
    assert read_expression("Thing") is Thing
    assert Thing().ask("self.layers[1]") == "second"
    assert read_expression("torch.nn.Linear") is torch.nn.Linear


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.0e-3", 1e-3),
        ("-2", -2),
        ("None", None),
        ("'AdamW'", "AdamW"),
        ("['dev', 'test']", ["dev", "test"]),
        ("{'a': (1, True)}", {"a": (1, True)}),
        ("[(512,10,5)] + [(512,3,2)] * 2", [(512, 10, 5), (512, 3, 2), (512, 3, 2)]),
    ],
)
def test_literals_and_sums_of_lists_are_read(text, value):
    assert read_expression(text) == value


def test_minus_infinity_of_a_configuration_is_read():
    import math

    assert read_expression("-math.inf") == -math.inf


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "open('canary', 'w')",
        "Path('canary').touch()",
        "[x for x in ()]",
        "lambda: 0",
        "().__class__",
        "torch._C",
        "subprocess.run",
        "2 ** 99999",
        "'a' * 9999999",
        "[0] * 9999999",
        "[0] * 1000 * 1000",
        "f'{Path}'",
        "x := 1",
        "",
        "1 +",
        "\0",
        "(" * 5000,
        "1" * 20000,
        b"1",
    ],
)
def test_anything_else_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match="was not evaluated: only names, numbers, texts and lists"
    ):
        read_expression(text)
    assert not list(tmp_path.iterdir())


def test_an_unknown_name_is_a_name_error():
    with pytest.raises(NameError, match="name 'nothing' is not defined"):
        read_expression("nothing")
    with pytest.raises(NameError):
        read_expression("len")  # built-in functions are no names of a configuration


def test_the_layers_of_a_front_end_are_triples_of_positive_integers():
    assert read_conv_layers(tiny_upstreams.CONV_LAYERS)[0] == (16, 10, 5)
    for text in (
        "",
        "1",
        "[]",
        "[(1,2)]",
        "[(1,2,0)]",
        "[(1,2,True)]",
        "[(1,2,9999999)]",
        "Path",
        3,
    ):
        with pytest.raises(CheckpointError) as caught:
            read_conv_layers(text)
        assert str(caught.value) == (
            "`conv_feature_layers` of the checkpoint must be a list of (channels, width, stride), "
            f"but is {str(text)!r}; it was not run. Do not use this checkpoint."
        )


@pytest.mark.parametrize("module", ["wavlm", "wav2vec2", "hubert"])
def test_text_in_a_checkpoint_is_not_run(module, tmp_path):
    import s3prl.hub as hub

    attack = f"__import__('pathlib').Path({str(tmp_path / 'canary')!r}).touch() or [(16,10,5)]"
    make = getattr(tiny_upstreams, f"make_{module}")
    state = torch.load(make(tmp_path / "good.pt"), weights_only=True)
    state["cfg" if module == "wavlm" else "model_cfg"]["conv_feature_layers"] = attack
    torch.save(state, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match="it was not run"):
        getattr(hub, f"{module}_local")(ckpt=str(tmp_path / "bad.pt"))
    assert not (tmp_path / "canary").exists()


def test_no_module_of_s3prl_has_the_built_in_eval():
    import s3prl.downstream.emotion.expert as emotion
    import s3prl.upstream.hubert.hubert_model as hubert_model

    assert emotion.eval is read_expression
    assert hubert_model.eval is read_conv_layers
    with pytest.raises(ConfigError):
        emotion.eval("__import__('os')")
