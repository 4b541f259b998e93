"""What a name of a hub led a run to is kept with it, and mistyped paths are told at once."""

import argparse
import shutil
import socket
from hashlib import sha256
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from tiny_upstreams import make_transformers, make_wavlm

import spknorm.compat  # noqa: F401 # before s3prl's modules
from spknorm.cli import downstream
from spknorm.config.weights import check_weights, note_fetched, note_weights
from spknorm.errors import CheckpointError, MissingError
from spknorm.upstreams import build, fetched
from spknorm.upstreams.hugging_face.names import check_place

WAVLM = "https://huggingface.co/s3prl/converted_ckpts/resolve/main/wavlm_large.pt"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The files of someone/tiny in the Hugging Face cache, without a network."""
    repository = tmp_path / "hub" / "models--someone--tiny"
    snapshot = repository / "snapshots" / ("0" * 40)
    make_transformers(snapshot, "hubert")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return snapshot


def begun(args):
    """Return the arguments of a run, as its checkpoints have them once it has begun."""
    args.init_ckpt = None
    note_weights(args)
    runner = SimpleNamespace(upstream=SimpleNamespace(model=build(args).upstream))
    downstream._compare_fetched(runner, args, begins=True)
    return args


@pytest.mark.parametrize("upstream", ["hf:someone/tiny", "hf_hubert_custom"])
def test_a_name_of_the_hub_has_the_digest_of_what_it_stands_for(upstream, kept):
    named = None if ":" in upstream else "someone/tiny"
    args = begun(
        argparse.Namespace(upstream=upstream, upstream_ckpt=named, upstream_trainable=False)
    )
    here = argparse.Namespace(upstream=f"hf:{kept}", upstream_ckpt=None, init_ckpt=None)
    note_weights(here)
    assert args.upstream_digest == here.upstream_digest
    build(args)
    (kept / "config.json").write_text((kept / "config.json").read_text() + " ")
    with pytest.raises(CheckpointError, match="is not the folder, with the files, that this run b"):
        build(args)
    args.upstream_trainable = True  # whose weights are in its checkpoints
    build(args)


def test_a_name_of_s3prl_s_hub_has_the_digest_of_its_file(tmp_path, monkeypatch):
    from s3prl.util import download

    monkeypatch.setattr(download, "_download_dir", tmp_path)
    place = make_wavlm(tmp_path / f"{sha256(WAVLM.encode()).hexdigest()}.wavlm_large.pt")
    args = begun(
        argparse.Namespace(upstream="wavlm_large", upstream_ckpt=None, upstream_trainable=False)
    )
    assert args.upstream_digest == sha256(place.read_bytes()).hexdigest()[:12]
    state = torch.load(place, weights_only=True)
    torch.save({**state, "more": 1}, place)
    with pytest.raises(CheckpointError, match=r"wavlm_large\.pt is not the file that this run beg"):
        build(args)
    begun(argparse.Namespace(upstream="fbank", upstream_ckpt=None))
    assert fetched(object(), argparse.Namespace(upstream="fbank")) is None  # not the one before


def test_a_run_without_a_digest_goes_on_as_before(kept):
    args = argparse.Namespace(upstream="hf:someone/tiny", upstream_ckpt=None)
    check_weights(args, kept)
    note_fetched(args, None)
    assert not hasattr(args, "upstream_digest")


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        ("./exportd", " Did you mean exported?"),
        ("result/exportd", " Did you mean result/exported?"),
        ("exported/", None),
        ("/nonexistent/exported", ""),
        ("a/b/c", ""),
        ("C:\\models\\hubert", ""),
        ("~/nowhere/hubert", ""),
    ],
)
@pytest.mark.parametrize("upstream", ["hf:", "hf_hubert_custom"])
def test_a_mistyped_path_is_told_before_a_network_is_asked(
    upstream, named, hint, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    make_transformers(tmp_path / "exported", "hubert")
    shutil.copytree(tmp_path / "exported", tmp_path / "result" / "exported")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("a network was asked"))
    address = upstream if upstream.endswith("custom") else f"hf:{named}"
    if hint is None:
        return check_place(named, address)
    with pytest.raises(MissingError) as caught:
        build(
            argparse.Namespace(
                upstream=address, upstream_ckpt=named if address == upstream else None
            )
        )
    assert str(caught.value) == f"The upstream `{address}` needs {named}, which is not there.{hint}"
    return None


@pytest.mark.parametrize("offline", [True, False])
def test_a_name_that_cannot_be_asked_for_is_one_line_at_once(offline, tmp_path, monkeypatch):
    def nowhere(*_):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    why = "HF_HUB_OFFLINE is set" if offline else "huggingface.co is not found: is there a network?"
    with pytest.raises(MissingError) as caught:
        build(argparse.Namespace(upstream="hf_hubert_custom", upstream_ckpt="nobody/nothing"))
    assert str(caught.value) == (
        "The upstream `hf_hubert_custom` needs `nobody/nothing`, which is neither a folder here "
        f"nor in the Hugging Face cache, and could not be downloaded ({why}). Name a folder, or "
        "set HF_HOME to a cache that has it."
    )
