"""A finished run loaded again: from files, from folders, and by names of a hub."""

import shutil

import numpy as np
import pytest
import torch
from tiny_upstreams import make_hugging_face, make_wav2vec2
from trained_folders import make_trained

from spknorm import predict
from spknorm.errors import MissingError
from spknorm.export import export
from spknorm.runs.trained import load
from spknorm.upstreams import FAMILIES, OTHER, family_of


def _hub_cache(folder, name, root):
    """Lay a folder of transformers into a cache of the hub, as a download does."""
    place = root / "hub" / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / "0123")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0123")


@pytest.mark.parametrize(
    ("upstream", "kind", "changes"),
    [
        ("hf_hubert_custom", "hubert", {}),
        ("hf_wav2vec2_custom", "wav2vec2", {}),
        ("hf_hubert_custom", "hubert", {"do_stable_layer_norm": True, "strategy": "SNP"}),
    ],
)
def test_a_run_on_a_folder_of_transformers_is_used_by_predict_and_exported(
    upstream, kind, changes, tmp_path, tone
):
    from s3prl import hub

    from spknorm.registry import register

    changes = dict(changes)
    strategy = changes.pop("strategy", "TAP")
    folder = make_hugging_face(tmp_path / "hf", kind, **changes)
    run = make_trained(tmp_path / "run", folder, upstream=upstream, strategy=strategy)
    assert sum(predict.load(run).predict(tone(0.5), 16000).values()) == pytest.approx(1.0)
    exported = export(run)
    assert exported.upstream_file is None
    assert exported.classifier == (strategy != "SNP")
    register()
    wav = torch.from_numpy(tone(0.5))
    with torch.no_grad():
        (seen,) = load(run).features([wav])
        back = hub.spknorm_hugging_face(ckpt=str(exported.folder)).eval()([wav])
    last = back["last_hidden_state"][0]
    torch.testing.assert_close(seen[: len(last)], last, rtol=1e-5, atol=1e-5)
    shutil.rmtree(folder)
    with pytest.raises(MissingError) as caught:
        load(run)
    assert str(caught.value) == (
        f"{run} was trained on the upstream checkpoint {folder}, which is not there. "
        "Put it back; its configuration is needed to build the model."
    )


def test_a_run_on_a_name_of_a_hub_is_loaded_from_the_cache_without_a_network(
    tmp_path, tone, monkeypatch
):
    import huggingface_hub.constants

    folder = make_hugging_face(tmp_path / "hf", "hubert")
    run = make_trained(tmp_path / "run", folder, upstream="hf_hubert_custom")
    expected = predict.load(run).predict(tone(0.5), 16000)
    _hub_cache(folder, "someone/tiny", tmp_path / "home")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    state = torch.load(run / "dev-best.ckpt", weights_only=True)
    state["Args"].upstream_ckpt = "someone/tiny"
    torch.save(state, run / "dev-best.ckpt")
    assert predict.load(run).predict(tone(0.5), 16000) == expected
    state["Args"].upstream_ckpt = "someone/else"
    torch.save(state, run / "dev-best.ckpt")
    with pytest.raises(MissingError, match="needs `someone/else`, which is neither a folder here"):
        load(run)


def test_the_table_of_families_knows_its_upstreams(tmp_path, tiny_hubert):
    hubert = load(make_trained(tmp_path / "h", tiny_hubert))
    wav2vec2 = load(
        make_trained(tmp_path / "w", make_wav2vec2(tmp_path / "w.pt"), upstream="wav2vec2_local")
    )
    assert (hubert.family, wav2vec2.family) == FAMILIES[:2]
    assert (hubert.source, wav2vec2.source) == (tiny_hubert, None)
    assert family_of(torch.nn.Linear(1, 1)) is OTHER


def test_what_the_head_sees_is_gated(tmp_path, tiny_hubert, tone):
    trained = load(make_trained(tmp_path / "run", tiny_hubert, strategy="SNP"))
    wavs = [torch.from_numpy(tone(0.4))]
    with torch.no_grad():
        (below,) = trained.featurizer(wavs, trained.upstream(wavs))
        (seen,) = trained.features(wavs)
        assert torch.equal(seen, trained.heads.gate(below))
    assert not np.allclose(seen, below)
