"""No class and no score comes of a logit that is not finite, wherever classes are told."""

import argparse
import importlib
from collections import defaultdict

import numpy as np
import pytest
import soundfile
import torch
from tiny_runs import make_runner, settings_of
from trained_folders import make_trained

from spknorm import predict, registry
from spknorm.cli import main
from spknorm.errors import NonFiniteError
from spknorm.probe import Pooled, run_probe
from spknorm.statistics.metrics import classes_of


@pytest.fixture
def broken(tmp_path, tiny_hubert):
    """A run whose emotion head holds a NaN."""
    run = make_trained(tmp_path / "run", tiny_hubert)
    state = torch.load(run / "dev-best.ckpt", weights_only=True)
    state["Downstream"]["heads.projector.bias"][0] = float("nan")
    torch.save(state, run / "dev-best.ckpt")
    return run


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_has_no_class(value):
    logits = np.array([[0.0, 1.0], [value, 0.0], [2.0, 1.0]])
    with pytest.raises(NonFiniteError) as caught:
        classes_of(logits, ["a", "b", "c"])
    assert str(caught.value) == (
        "The model gives NaN or infinity for 1 utterance (b), of which no class can be told: its "
        "weights, or its features of them, are not finite."
    )
    assert classes_of(torch.tensor(logits[[0, 2]])).tolist() == [1, 0]


@pytest.mark.fault("logits not finite")
def test_predict_names_the_file_and_ends_with_4(broken, tmp_path, tone, capsys):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(0.5), 16000)
    assert main(["predict", str(broken), str(path)]) == 4
    told = capsys.readouterr()
    assert "nan" not in told.out
    assert f"The model gives NaN or infinity for 1 utterance ({path})" in told.err
    assert main(["predict", str(broken), str(path), "--skip-bad"]) == 3
    with pytest.raises(NonFiniteError, match=r"for 1 utterance \(the recording\)"):
        predict.load(broken).predict(tone(0.5), 16000)


@pytest.mark.fault("logits not finite")
def test_evaluation_in_training_names_the_utterances(tmp_path, tiny_hubert, tiny_corpora):
    runner = make_runner(tiny_hubert, settings_of(tiny_corpora, strategy="none"), tmp_path / "run")
    runner.expert.heads.projector.bias.data[0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"NaN or infinity for \d+ utterances \(Ses0"):
        runner.evaluate("dev")
    assert not list((tmp_path / "run").glob("dev_*_predict.txt"))


@pytest.mark.fault("logits not finite")
def test_the_experts_of_both_tasks_refuse(tmp_path, tiny_hubert, tiny_corpora):
    runner = make_runner(tiny_hubert, settings_of(tiny_corpora, strategy="none"), tmp_path / "run")
    expert = runner.expert
    features = [torch.full((4, 32), float("inf"))]
    with pytest.raises(NonFiniteError, match=r"utterance \(u1\)"):
        expert("dev", features, [0], [-1], ["u1"], defaultdict(list))
    with pytest.raises(NonFiniteError, match=r"utterance \(u2\)"):
        expert.inference(features, ["u2"])
    assert not (tmp_path / "run" / "inference.txt").exists()
    registry.register()
    probe = importlib.import_module("s3prl.downstream.speaker_probe.expert")
    stub = argparse.Namespace(
        _logits=lambda given: torch.full((1, 3), float("nan")), expdir=tmp_path,
        objective=torch.nn.CrossEntropyLoss(),
    )  # fmt: skip
    with pytest.raises(NonFiniteError, match=r"utterance \(u3\)"):
        probe.DownstreamExpert.inference(stub, features, ["u3"])
    with pytest.raises(NonFiniteError, match=r"utterance \(u4\)"):
        probe.DownstreamExpert.forward(stub, "test", features, [0], ["u4"], defaultdict(list))


def test_a_probe_of_features_that_are_not_finite_is_an_error():
    features = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    labels = np.arange(40) % 2
    from spknorm.errors import DataError

    features[0, 0] = np.nan
    with pytest.raises(DataError, match="hold NaN or infinity"):
        run_probe("linear", Pooled(features, labels), Pooled(features, labels))


@pytest.mark.fault("logits not finite")
def test_stock_tasks_of_superb_end_where_the_loss_of_a_score_is_nan():
    from spknorm.compat.stock_tasks import refuse_nonfinite_scores

    class Expert:
        def forward(self, split, features, labels, names, records):
            return torch.tensor(float("nan"))

    refuse_nonfinite_scores(Expert)
    with pytest.raises(NonFiniteError) as caught:
        Expert().forward("test", [], [0], ["a.wav"], {})
    assert str(caught.value) == (
        "The model gives NaN or infinity on test (a.wav), of which no score comes."
    )
    assert Expert().forward("train", [], [0], ["a.wav"], {}).isnan()


@pytest.mark.parametrize("shape", [(1, 8000), (8000, 1), (8000, 2)])
def test_a_recording_may_have_channels_last_or_one_in_front(shape, tmp_path, tiny_hubert, tone):
    predictor = predict.load(make_trained(tmp_path / "run", tiny_hubert))
    wav = tone(0.5)
    given = np.broadcast_to(wav if shape[0] == 1 else wav[:, None], shape)
    assert predictor.predict(given, 16000) == predictor.predict(wav, 16000)
    assert predictor.predict(torch.tensor(given), 16000) == predictor.predict(wav, 16000)
