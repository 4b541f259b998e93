"""Names of s3prl's hub: found where s3prl keeps downloads, or one text that says what to do."""

import argparse
import importlib
from hashlib import sha256

import pytest
import requests
import torch
from tiny_upstreams import make_data2vec, make_hubert, make_wav2vec2, make_wavlm

import spknorm.compat  # noqa: F401 # before s3prl's modules
from spknorm.errors import CheckpointError, MissingError
from spknorm.upstreams import build

CONVERTED = "https://huggingface.co/s3prl/converted_ckpts/resolve/main/"
NAMES = {
    "wavlm_large": ("wavlm_large.pt", make_wavlm, "wavlm_local"),
    "wavlm_base_plus": ("wavlm_base_plus.pt", make_wavlm, "wavlm_local"),
    "hubert_base": ("hubert_base_ls960.pt", make_hubert, "hubert_local"),
    "hubert_large_ll60k": ("hubert_large_ll60k.pt", make_hubert, "hubert_local"),
    "wav2vec2_base_960": ("wav2vec_small.pt", make_wav2vec2, "wav2vec2_local"),
    "xls_r_300m": ("xlsr2_300m.pt", make_wav2vec2, "wav2vec2_local"),
    "data2vec_large_ll60k": ("vox_pretrained.pt", make_data2vec, "data2vec_local"),
    "unispeech_sat_large": ("unispeech_sat_large.pt", make_wavlm, "unispeech_sat_local"),
}


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """s3prl's folder of downloads, empty, without a network."""
    download = importlib.import_module("s3prl.util.download")

    def no_network(*args, **options):
        raise requests.ConnectionError("Network is unreachable")

    monkeypatch.setattr(download, "_download_url_to_file", no_network)
    monkeypatch.setattr(requests, "get", no_network)
    monkeypatch.setattr(download, "_download_dir", tmp_path / "downloads")
    (tmp_path / "downloads").mkdir()
    return tmp_path / "downloads"


def _built(name, ckpt=None):
    return build(argparse.Namespace(upstream=name, upstream_ckpt=ckpt)).upstream


def _place(name, folder):
    file = NAMES[name][0]
    return folder / f"{sha256((CONVERTED + file).encode()).hexdigest()}.{file}"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_takes_the_file_that_lies_where_s3prl_keeps_it(name, downloads):
    _, make, local = NAMES[name]
    place = make(_place(name, downloads))
    expected = _built(local, str(place)).state_dict()
    found = _built(name).state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(value, expected[key]) for key, value in found.items())


@pytest.mark.parametrize("name", NAMES)
def test_without_it_one_text_names_address_folder_and_file(name, downloads):
    with pytest.raises(MissingError) as caught:
        _built(name)
    assert str(caught.value) == (
        f"The upstream `{name}` needs {CONVERTED}{NAMES[name][0]}, which could not be downloaded "
        f"(ConnectionError) and is not in {downloads} either. Download it elsewhere and put it "
        f"there as {_place(name, downloads).name}, or name it with -k and a *_local upstream, or "
        "name a folder with earlier downloads with --cache_dir."
    )


def _whole(path):
    return make_wavlm(path).read_bytes()


@pytest.mark.fault("foreign weights")
@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(_whole(path)[:5000]), "is cut short: its 5000 bytes end"),
        (lambda path: path.write_text("<!DOCTYPE html>Sign in"), "is a web page, not a checkpoint"),
        (lambda path: path.write_bytes(b""), "is empty: copy or download it again"),
        (make_hubert, "it is a checkpoint that s3prl converted, of the kind -u hubert_local reads"),
    ],
)
def test_a_file_that_is_not_what_the_name_says_is_named(write, message, downloads):
    place = _place("wavlm_large", downloads)
    write(place)
    with pytest.raises(CheckpointError) as caught:
        _built("wavlm_large")
    assert message in str(caught.value)
    assert str(place) in str(caught.value)


@pytest.mark.fault("foreign weights")
@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_server_s_page_about_an_error_is_not_kept_as_the_file(status, downloads, monkeypatch):
    def refuse(url, **options):
        answer = requests.Response()
        answer.status_code, answer._content = status, b"<html>no</html>"
        return answer

    monkeypatch.setattr(requests, "get", refuse)
    with pytest.raises(MissingError, match=r"could not be downloaded \(HTTPError\)"):
        _built("wavlm_large")
    assert not [path for path in downloads.iterdir() if path.suffix != ".lock"]
