import importlib

import numpy as np
import pytest
import soundfile
import stock_trees
import torch

from spknorm import registry
from spknorm.cli import run_downstream
from spknorm.config import load_yaml
from spknorm.corpora.records import Utterance
from spknorm.errors import ConfigError, DataError
from spknorm.probe.corpus import split_by_label

SHORT = (
    "config.runner.total_steps={steps},,config.runner.log_step=1,,config.runner.eval_step=2,,"
    "config.runner.save_step=2,,config.runner.gradient_accumulate_steps=1,,"
    "config.downstream_expert.datarc.num_workers=0"
)


def _utterances(tmp_path, counts, **fields):
    return [
        Utterance(id=f"{name}-{n}", path=tmp_path / f"{name}-{n}.wav", speaker=name, **fields)
        for name, count in counts.items()
        for n in range(count)
    ]


def test_every_class_is_in_every_part_and_no_utterance_in_two(tmp_path):
    records = _utterances(tmp_path, {"a": 10, "b": 30, "c": 3})
    split = split_by_label(records, "speaker", dev_ratio=0.1, test_ratio=0.2)
    assert split.names == ("a", "b", "c")
    for part in ("train", "dev", "test"):
        assert set(split.labels(part)) == {0, 1, 2}
    ids = [u.id for part in (split.train, split.dev, split.test) for u in part]
    assert sorted(ids) == sorted(record.id for record in records)
    assert sum(u.speaker == "b" for u in split.test) == 5


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_files(tmp_path):
    records = _utterances(tmp_path, {"a": 20, "b": 20})
    split = split_by_label(records, "speaker", seed=1)
    assert split_by_label(records[::-1], "speaker", seed=1) == split
    assert split_by_label(records, "speaker", seed=2).test != split.test


def test_a_corpus_own_split_is_kept_and_what_it_lacks_is_drawn_from_its_training_part(tmp_path):
    train = _utterances(tmp_path, {"a": 10, "b": 10}, split="train")
    test = _utterances(tmp_path / "test", {"a2": 1}, split="test")
    test = [
        Utterance(id=f"t{name}", path=tmp_path / f"t{name}.wav", speaker=name, split="test")
        for name in "ab"
    ]
    split = split_by_label([*train, *test], "speaker")
    assert {u.id for u in split.test} == {"ta", "tb"}
    assert len(split.dev) == 2
    assert len(split.train) == 18


def test_classes_with_too_few_utterances_are_left_out_and_the_largest_kept(tmp_path, caplog):
    records = _utterances(tmp_path, {"a": 2, "b": 5, "c": 9, "d": 7})
    assert split_by_label(records, "speaker", max_classes=2).names == ("c", "d")
    assert split_by_label(records, "speaker").names == ("b", "c", "d")
    assert "1 of 4 classes of `speaker` have too few utterances" in caplog.text


def test_what_cannot_be_split_is_told(tmp_path):
    with pytest.raises(DataError) as caught:
        split_by_label(_utterances(tmp_path, {"a": 2, "b": 9}), "speaker")
    assert str(caught.value) == (
        "A probe of `speaker` needs two classes with three utterances each at least, "
        "but the corpus has 1."
    )
    with pytest.raises(ConfigError) as caught:
        split_by_label(_utterances(tmp_path, {"a": 9}), "speaker", test_ratio=1.0)
    assert str(caught.value) == (
        "`dev_ratio` and `test_ratio` must be above 0 and below 1 together, but are 0.1 and 1.0."
    )


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Three speakers of ten tones each, on two channels."""
    root = tmp_path_factory.mktemp("manifest")
    lines = ["id,path,speaker,channel"]
    for speaker in range(3):
        for number in range(10):
            name = f"s{speaker}_{number}"
            stock_trees.write_tone(root / f"{name}.wav", 0.2 + 0.02 * number, 120 + 150 * speaker)
            lines.append(f"{name},{name}.wav,voice{speaker},channel{number % 2}")
    (root / "table.csv").write_text("\n".join(lines) + "\n")
    return root / "table.csv"


def _expert(manifest, expdir, **corpus):
    registry.register()
    module = importlib.import_module("s3prl.downstream.speaker_probe.expert")
    config = load_yaml(registry.config_path("speaker_probe"))
    section = config["downstream_expert"]
    section["speaker_corpus"] |= {"corpus": "manifest", "manifest": str(manifest), **corpus}
    section["datarc"]["num_workers"] = 0
    expdir.mkdir(exist_ok=True)
    rest = {key: value for key, value in config.items() if key != "downstream_expert"}
    return module.DownstreamExpert(
        upstream_dim=6, upstream_rate=320, downstream_expert=section, expdir=str(expdir), **rest
    )


def test_the_head_is_that_of_s3prls_voxceleb1(manifest, tmp_path):
    from s3prl.downstream.model import UtteranceLevel

    expert = _expert(manifest, tmp_path / "e")
    torch.manual_seed(0)
    features = [torch.randn(length, 6) for length in (5, 9)]
    head = UtteranceLevel(256, 3, pooling="MeanPooling")
    head.load_state_dict(expert.model.state_dict())
    padded = expert.projector(torch.nn.utils.rnn.pad_sequence(features, batch_first=True))
    logits, _ = head(padded, torch.tensor([5, 9]))
    records = {key: [] for key in ("acc", "loss", "filename", "predict_speaker", "truth_speaker")}
    loss = expert("test", features, [0, 2], ["a/b", "c"], records)
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2]))
    assert torch.equal(loss, expected)
    assert records["filename"] == ["a-b", "c"]
    assert records["truth_speaker"] == ["voice0", "voice2"]


def test_training_hears_crops_in_a_new_order_each_epoch_and_tests_hear_everything(
    manifest, tmp_path
):
    expert = _expert(manifest, tmp_path / "e", max_seconds=0.1)
    first, second = (list(expert.get_dataloader("train", epoch=epoch)) for epoch in (0, 1))
    assert [batch[2] for batch in first] != [batch[2] for batch in second]
    assert {len(wav) for batch in first for wav in batch[0]} == {1600}
    again = list(expert.get_dataloader("train", epoch=0))
    assert [batch[2] for batch in again] == [batch[2] for batch in first]
    tested = [wav for batch in expert.get_dataloader("test") for wav in batch[0]]
    assert min(len(wav) for wav in tested) > 1600


def test_shuffled_labels_are_a_control_of_training_alone(manifest, tmp_path):
    plain = _expert(manifest, tmp_path / "e")
    shuffled = _expert(manifest, tmp_path / "f", shuffle_labels=True)

    def labels(expert, split):
        pairs = [
            pair
            for _, found, ids in expert.get_dataloader(split)
            for pair in zip(ids, found, strict=True)
        ]
        return dict(pairs)

    assert labels(plain, "test") == labels(shuffled, "test")
    assert labels(plain, "train") != labels(shuffled, "train")
    assert sorted(labels(plain, "train").values()) == sorted(labels(shuffled, "train").values())


def test_an_unknown_setting_is_named(manifest, tmp_path):
    with pytest.raises(ConfigError, match=r"`config.downstream_expert.speaker_corpus.lable`"):
        _expert(manifest, tmp_path / "e", lable="speaker")


@pytest.mark.slow
def test_it_trains_evaluates_and_infers_under_s3prls_runner(manifest, tiny_hubert, tmp_path):
    expdir = tmp_path / "expdir"
    corpus = "config.downstream_expert.speaker_corpus"
    options = f"{SHORT.format(steps=40)},,{corpus}.corpus=manifest,,{corpus}.manifest={manifest}"
    options += f",,{corpus}.label=speaker,,config.optimizer.lr=0.01"
    begin = ["-d", "speaker_probe", "-u", "hubert_local", "-k", str(tiny_hubert)]
    assert run_downstream([*begin, "-p", str(expdir), "-o", options]) == 0
    truth = (expdir / "test_truth.txt").read_text().splitlines()
    assert len(truth) == 6
    assert {line.split()[1] for line in truth} == {"voice0", "voice1", "voice2"}
    predicted = (expdir / "test_predict.txt").read_text()
    best = ["-m", "evaluate", "-t", "test", "-i", str(expdir / "states-40.ckpt"), *begin]
    assert run_downstream([*best, "-p", str(tmp_path / "again"), "-o", options]) == 0
    assert (tmp_path / "again" / "test_predict.txt").read_text() == predicted
    speech = tmp_path / "speech.wav"
    soundfile.write(speech, np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    infer = ["-m", "inference", "-t", str(speech), "-e", str(expdir)]
    assert run_downstream(infer) == 0
    assert (expdir / "inference.txt").read_text().startswith("speech voice")
