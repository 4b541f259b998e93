import pytest
import torch
from tiny_upstreams import wavs
from trained_folders import make_trained

from spknorm.errors import CheckpointError, MissingError
from spknorm.export import export, load_gate
from spknorm.registry import register


@pytest.fixture(scope="module")
def hub():
    register()
    from s3prl import hub

    return hub


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny_hubert):
    register()
    folder = make_trained(tmp_path_factory.mktemp("snp"), tiny_hubert, strategy="SNP")
    return export(folder, formats=("s3prl",)).upstream_file


def test_the_gated_state_comes_last_and_the_others_are_those_of_hubert_local(hub, exported):
    ours = hub.spknorm_hubert_local(ckpt=str(exported)).eval()
    stock = hub.hubert_local(ckpt=str(exported)).eval()
    gate = load_gate(exported)
    with torch.no_grad():
        found, expected = ours(wavs(1.0, 0.4)), stock(wavs(1.0, 0.4))
    *below, gated = found["hidden_states"]
    assert len(below) == len(expected["hidden_states"])
    for one, other in zip(below, expected["hidden_states"], strict=True):
        assert torch.equal(one, other)
    assert torch.equal(gated, gate(expected["hidden_states"]))
    assert torch.equal(gated, gate.gate(expected["last_hidden_state"]))
    assert torch.equal(found["last_hidden_state"], gated)
    assert torch.equal(found["hidden_state_3"], gated)
    assert ours.get_downsample_rates("hidden_states") == 320


def test_without_a_gate_it_is_hubert_local(hub, tiny_hubert):
    ours = hub.spknorm_hubert_local(ckpt=str(tiny_hubert), refresh=False).eval()
    stock = hub.hubert_local(ckpt=str(tiny_hubert)).eval()
    found, expected = ours(wavs(0.5)), stock(wavs(0.5))
    assert len(found["hidden_states"]) == len(expected["hidden_states"])
    assert torch.equal(found["last_hidden_state"], expected["last_hidden_state"])


def test_s3prls_featurizer_sums_over_all_states(hub, exported):
    from s3prl.upstream.interfaces import Featurizer

    upstream = hub.spknorm_hubert_local(ckpt=str(exported))
    featurizer = Featurizer(upstream, "hidden_states", upstream_device="cpu")
    assert featurizer.layer_num == 4
    heard = wavs(1.0, 0.5)
    assert [frames.shape[1] for frames in featurizer(heard, upstream(heard))] == [32, 32]


def test_the_gate_is_part_of_what_fine_tuning_trains(hub, exported):
    upstream = hub.spknorm_hubert_local(ckpt=str(exported)).train()
    upstream(wavs(0.5))["last_hidden_state"].sum().backward()
    assert all(parameter.grad is not None for parameter in upstream.gate.parameters())
    assert any(name.startswith("gate.") for name in upstream.state_dict())


def test_the_fast_encoder_does_not_run_past_the_gate(hub, exported):
    from s3prl.upstream.interfaces import Featurizer

    from spknorm.upstreams.fast import reason_unsupported

    upstream = hub.spknorm_hubert_local(ckpt=str(exported))
    featurizer = Featurizer(upstream, "last_hidden_state", upstream_device="cpu")
    assert reason_unsupported(upstream, featurizer) is not None


def test_it_says_what_is_missing(hub, tmp_path):
    with pytest.raises(MissingError) as caught:
        hub.spknorm_hubert_local(ckpt=None)
    assert str(caught.value) == "spknorm_hubert_local needs the exported file: -k normalised.pt"
    (tmp_path / "text.pt").write_text("no checkpoint")
    with pytest.raises(CheckpointError, match=r"text\.pt is no file of torch"):
        hub.spknorm_hubert_local(ckpt=str(tmp_path / "text.pt"))
