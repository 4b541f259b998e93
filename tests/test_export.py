from pathlib import Path

import pytest
import torch
from tiny_upstreams import waveforms
from trained_folders import make_trained, trained_upstream

from spknorm.errors import CheckpointError, ConfigError, MissingError, NonFiniteError
from spknorm.export import export
from spknorm.export.exportable import read_exportable
from spknorm.export.upstream_file import read_upstream_file
from spknorm.runs.trained import read_checkpoint


def test_an_export_has_the_trained_hidden_states_bit_for_bit(tap, tiny_hubert):
    from s3prl import hub

    from spknorm.registry import register

    register()
    exported = export(tap)
    trained = trained_upstream(tap, tiny_hubert)
    for name in ("spknorm_hubert_local", "hubert_local"):
        loaded = getattr(hub, name)(ckpt=str(exported.upstream_file)).eval()
        for wav in list(waveforms())[::5]:
            with torch.no_grad():
                expected, found = trained([wav]), loaded([wav])
            assert len(expected["hidden_states"]) == len(found["hidden_states"])
            for one, other in zip(expected["hidden_states"], found["hidden_states"], strict=True):
                assert torch.equal(one, other)


def test_a_frozen_run_exports_its_original_upstream(tmp_path, tiny_hubert):
    folder = make_trained(tmp_path / "frozen", tiny_hubert, strategy="SNP", frozen=True)
    exported = read_upstream_file(export(folder).upstream_file)
    original = read_upstream_file(tiny_hubert)
    assert exported["spknorm"]["gate"] is not None
    assert exported["spknorm"]["provenance"]["upstream_trained"] is False
    for name, value in original["model_weight"].items():
        assert torch.equal(exported["model_weight"][name], value)


def test_the_file_loads_with_weights_only_and_says_where_it_came_from(snp):
    file = torch.load(export(snp).upstream_file, weights_only=True)
    assert set(file) == {
        "task_cfg",
        "model_cfg",
        "model_weight",
        "dictionaries_symbols",
        "spknorm",
    }
    assert file["spknorm"]["format"] == "spknorm.upstream/1"
    provenance = file["spknorm"]["provenance"]
    assert provenance["result"]["strategy"] == "SNP"
    assert provenance["best_step"] == 40
    assert provenance["config"]["downstream_expert"]["spknorm"]["strategy"] == "SNP"


def test_one_format_alone_can_be_written(tap, tmp_path):
    exported = export(tap, tmp_path / "out", formats=("s3prl",))
    assert sorted(path.name for path in exported.folder.iterdir()) == ["README.md", "normalised.pt"]
    exported = export(tap, tmp_path / "other", formats=("transformers",))
    assert exported.upstream_file is None
    assert sorted(path.name for path in exported.folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]


@pytest.mark.parametrize("part", ["Upstream", "Downstream", "Featurizer"])
def test_weights_that_are_not_finite_are_not_exported(part, tmp_path, tiny_hubert):
    options = {"strategy": "SNP", "selection": "hidden_states"}
    folder = make_trained(tmp_path / "run", tiny_hubert, **options)
    state = read_checkpoint(folder)
    name = next(key for key in state[part] if "gate" in key or part != "Downstream")
    state[part][name].view(-1)[0] = float("nan")
    torch.save(state, folder / "dev-best.ckpt")
    with pytest.raises(NonFiniteError) as refused:
        export(folder)
    assert str(refused.value).startswith(f"{folder} has NaN or infinity in 1 of ")
    assert f"(`{name.removeprefix('heads.')}`)" in str(refused.value)
    assert not (folder / "export").exists()


def test_an_unknown_format_is_refused(tap):
    with pytest.raises(ConfigError) as caught:
        export(tap, formats=("onnx",))
    assert str(caught.value) == "Formats of an export are s3prl, transformers, but not `onnx`."


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(MissingError) as caught:
        export(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} has no dev-best.ckpt. Name the folder of a finished experiment, "
        "the one with result.json in it."
    )


def test_a_checkpoint_of_another_task_is_refused(tap):
    state = read_checkpoint(tap)
    state["Downstream"] = {"projector.weight": torch.ones(1)}
    state["Args"].downstream = "emotion"
    torch.save(state, tap / "dev-best.ckpt")
    with pytest.raises(CheckpointError) as caught:
        read_exportable(tap)
    assert str(caught.value) == (
        f"{tap / 'dev-best.ckpt'} is of the task emotion, "
        "but export, predict and audit read emotion_spknorm."
    )


def test_a_second_gate_has_no_place(snp, tmp_path):
    exported = export(snp).upstream_file
    again = make_trained(tmp_path / "again", exported, upstream="spknorm_hubert_local")
    with pytest.raises(ConfigError, match="has a gate already"):
        export(again)


def test_an_upstream_that_the_hub_does_not_have_is_refused(tap):
    state = read_checkpoint(tap)
    state["Args"].upstream = "no_such_upstream"
    torch.save(state, tap / "dev-best.ckpt")
    with pytest.raises(ConfigError) as caught:
        export(tap)
    assert str(caught.value) == "s3prl's hub has no upstream no_such_upstream."


def test_an_erasure_baseline_has_nothing_to_export(tmp_path, tiny_hubert):
    run = make_trained(
        tmp_path / "run", tiny_hubert, strategy="none", frozen=True, method={"erasure": "znorm"}
    )
    with pytest.raises(ConfigError) as caught:
        export(run)
    assert str(caught.value) == (
        f"{run} is a baseline with erasure znorm: its upstream is the original one, and its head "
        "reads features that no export can hold."
    )


def test_a_damaged_or_foreign_upstream_file_is_refused(tmp_path, tiny_hubert):
    (tmp_path / "cut.pt").write_bytes(tiny_hubert.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="is cut short: its 5000 bytes end"):
        read_upstream_file(tmp_path / "cut.pt")
    torch.save({"model_weight": {}, "task_cfg": {}, "model_cfg": {}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError) as caught:
        read_upstream_file(tmp_path / "other.pt")
    assert str(caught.value) == (
        f"{tmp_path / 'other.pt'} is not in s3prl's converted format: "
        "dictionaries_symbols is missing. It is a checkpoint that s3prl converted, of the kind "
        "-u wav2vec2_local reads."
    )
    with pytest.raises(MissingError) as caught:
        read_upstream_file(tmp_path / "none.pt")
    assert str(caught.value) == (
        f"There is no upstream checkpoint {tmp_path / 'none.pt'}. Name one with -k."
    )


def test_a_folder_that_cannot_be_written_is_exported_elsewhere(tap, tmp_path, monkeypatch):
    before = sorted(tap.rglob("*"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    exported = export(tap, formats=("s3prl",))
    assert sorted(tap.rglob("*")) == before
    assert exported.folder.parent == Path("result/export")
    assert exported.folder.name.startswith("tap-")
    assert (exported.folder / "normalised.pt").is_file()
