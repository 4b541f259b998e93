"""From training to use: runs trained by our runner, exported, and used by everybody else."""

import numpy as np
import pytest
import stock_trees
import tiny_runs
import torch

from spknorm import predict, registry
from spknorm.cli import main, run_downstream
from spknorm.export import export

METHODS = {
    "TAP": {"strategy": "TAP"},
    "SNP": {"strategy": "SNP"},
    "none": {"strategy": "none"},
    "SNP frozen, weighted sum": {"strategy": "SNP"},
}
FLAGS = {
    "SNP frozen, weighted sum": {
        "upstream_trainable": False,
        "upstream_feature_selection": "hidden_states",
    }
}
SHORT = (
    "config.runner.total_steps=2,,config.runner.log_step=1,,config.runner.eval_step=2,,"
    "config.runner.save_step=2,,config.runner.gradient_accumulate_steps=1,,"
    "config.downstream_expert.datarc.num_workers=0"
)


@pytest.fixture(scope="module")
def trained(request, tiny_hubert, tiny_corpora, tmp_path_factory):
    """A run and its runner, which holds the best dev step's weights."""
    name = getattr(request, "param", "SNP")
    mapping = tiny_runs.settings_of(tiny_corpora, total_steps=2, **METHODS[name])
    folder = tmp_path_factory.mktemp("trained")
    flags = FLAGS.get(name, {})
    tiny_runs.train(tiny_hubert, mapping, folder, **flags)
    best = {"init_ckpt": str(folder / "dev-best.ckpt"), "mode": "evaluate"}
    return folder, tiny_runs.make_runner(tiny_hubert, mapping, folder, **best, **flags)


@pytest.mark.slow
@pytest.mark.parametrize("trained", METHODS, indirect=True)
def test_an_export_of_a_run_is_what_its_head_saw_bit_for_bit(trained):
    folder, runner = trained
    registry.register()
    from s3prl import hub

    exported = hub.spknorm_hubert_local(ckpt=str(export(folder).upstream_file)).eval()
    upstream, featurizer = runner.upstream.model.eval(), runner.featurizer.model.eval()
    heads = runner.expert.heads.eval()
    for length in (1600, 5000, 16000):
        wavs = [torch.randn(length, generator=torch.Generator().manual_seed(length))]
        with torch.no_grad():
            hidden = upstream(wavs)
            (seen,) = featurizer(wavs, hidden)
            found = exported(wavs)
        for one, other in zip(hidden["hidden_states"], found["hidden_states"], strict=False):
            assert torch.equal(one, other)
        if heads.gate is not None:
            assert torch.equal(heads.gated(seen), found["last_hidden_state"][0][: len(seen)])


@pytest.mark.slow
@pytest.mark.parametrize("trained", METHODS, indirect=True)
def test_predictions_are_those_of_the_evaluation_in_training(trained):
    folder, runner = trained
    predictor = predict.load(folder)
    stream = runner.expert.streams.evaluation("test")
    heads = runner.expert.heads.eval()
    compared = 0
    for number in range(len(stream.order)):
        batch = stream[number]
        with torch.no_grad():
            features = runner.source(batch, corpus="emotion")
            expected = heads.emotion_logits(features).softmax(dim=-1).numpy()
        for wav, row in zip(batch.wavs, expected, strict=True):
            found = list(predictor.predict(wav, 16000).values())
            assert np.abs(np.array(found) - row).max() < 1e-6
            compared += 1
    truth = (folder / "test_fold1_predict.txt").read_text().splitlines()
    assert compared == len(truth)
    named = dict(line.split() for line in truth)
    for utterance in runner.expert.split.test:
        (row,) = predictor.predict_file(utterance.path)
        assert row.emotion == named[utterance.id]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "variable", "make"),
    [
        ("emotion", "IEMOCAP_ROOT", stock_trees.make_iemocap),
        ("voxceleb1", "VOXCELEB1_ROOT", stock_trees.make_voxceleb1),
        ("fluent_commands", "FLUENT_COMMANDS_ROOT", stock_trees.make_fluent_commands),
    ],
)
def test_stock_tasks_train_on_an_export(task, variable, make, trained, tmp_path, monkeypatch):
    file = export(trained[0], tmp_path / "export", formats=("s3prl",)).upstream_file
    monkeypatch.setenv(variable, str(make(tmp_path / "corpus")))
    begin = ["-d", task, "-u", "spknorm_hubert_local", "-k", str(file), "-p", str(tmp_path / "e")]
    assert run_downstream([*begin, "-o", SHORT]) == 0
    assert (tmp_path / "e" / "states-2.ckpt").exists()
    weights = torch.load(tmp_path / "e" / "states-2.ckpt", weights_only=True)["Featurizer"]
    assert len(weights["weights"]) == 4  # three of the tiny HuBERT, and the gated one


@pytest.mark.slow
def test_the_commands_export_and_predict_work(trained, tmp_path, capsys):
    folder, runner = trained
    assert main(["export", str(folder), "--out", str(tmp_path / "export")]) == 0
    out = capsys.readouterr().out
    assert "without the emotion classifier for transformers: between upstream and head" in out
    files = [str(utterance.path) for utterance in runner.expert.split.test]
    assert main(["predict", str(folder), *files, "--out", str(tmp_path / "rows.csv")]) == 0
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == len(files) + 1
    assert main(["predict", str(folder), files[0]]) == 0
    assert capsys.readouterr().out.splitlines()[-2].startswith("path,start,end,emotion,neu,hap,")
