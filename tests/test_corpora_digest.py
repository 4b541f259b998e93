"""A run knows its corpora: their digest, what changed in them, and what that means for `-a`."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
import soundfile
import tiny_runs

from spknorm import runs
from spknorm.corpora.digest import changes, digest_of, summaries, write_rows
from spknorm.corpora.records import Utterance
from spknorm.errors import ConfigError
from spknorm.runs import checkpoint

LABELS = ("emotion", "speaker")


@pytest.fixture
def corpus(tmp_path, tone):
    folder = tmp_path / "corpus"
    folder.mkdir()
    records = []
    for number in range(8):
        path = folder / f"u{number}.wav"
        soundfile.write(path, tone(0.1 + number / 100, seed=number), 16000)
        emotion = ("neu", "hap", "ang", "sad")[number % 4]
        records.append(
            Utterance(id=f"u{number}", path=path, emotion=emotion, speaker=f"s{number % 2}")
        )
    return records


def digest(records, folder, parts=None):
    parts = parts or {"train": records[:4], "dev": records[4:6], "test": records[6:]}
    return digest_of(records, labels=LABELS, parts=parts)


def test_a_copy_elsewhere_and_later_is_the_same_corpus(corpus, tmp_path):
    shutil.copytree(tmp_path / "corpus", tmp_path / "copy")
    moved = [
        dataclasses.replace(one, path=tmp_path / "copy" / one.path.name) for one in corpus[::-1]
    ]
    for one in moved:
        os.utime(one.path, (1, 1))
    parts = {"train": moved[:3:-1], "dev": moved[3:1:-1], "test": moved[1::-1]}
    assert digest(moved, tmp_path, parts).summary() == digest(corpus, tmp_path).summary()


def denoised(corpus):
    for one in corpus:
        samples, rate = soundfile.read(one.path)
        soundfile.write(one.path, samples * 0.5, rate)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda c: [
                dataclasses.replace(c[0], emotion="hap"),
                dataclasses.replace(c[1], emotion="neu"),
                *c[2:],
            ],
            "2 with other labels (u0, u1)",
        ),
        (
            lambda c: [dataclasses.replace(one, speaker="s9") for one in c],
            "8 with other labels (u0, u1, u2 and 5 more)",
        ),
        (lambda c: [*c[:-1], dataclasses.replace(c[-1], id="v")], "1 new (v), 1 gone (u7)"),
        (
            lambda c: [*c[:-1], dataclasses.replace(c[-1], path=c[0].path)],
            "1 with other audio (u7)",
        ),
    ],
)
def test_what_changed_is_named(corpus, tmp_path, change, told):
    before = digest(corpus, tmp_path)
    write_rows(tmp_path, {"emotion": before, "speaker": None})
    now = digest(change(corpus), tmp_path)
    found = changes(summaries({"emotion": before}), {"emotion": now}, tmp_path)
    assert list(found) == ["corpora.emotion"]
    was, has = found["corpora.emotion"]
    assert was == f"8 utterances, digest {before.digest[:12]}"
    assert has == f"8 utterances, digest {now.digest[:12]}: {told}"


def test_a_corpus_processed_as_a_whole_is_another_though_no_size_changed(corpus, tmp_path):
    before = digest(corpus, tmp_path)
    sizes = [one.path.stat().st_size for one in corpus]
    denoised(corpus)
    assert [one.path.stat().st_size for one in corpus] == sizes
    assert digest(corpus, tmp_path).digest != before.digest


def test_one_file_of_many_that_was_replaced_by_as_many_bytes_is_named(
    corpus, tmp_path, monkeypatch
):
    monkeypatch.setattr("spknorm.corpora.digest._NUM_READ", 0)  # as if it were not among those read
    before = digest(corpus, tmp_path)
    write_rows(tmp_path, {"emotion": before})
    denoised(corpus[3:4])
    now = digest(corpus, tmp_path)
    assert now.digest == before.digest
    found = changes(summaries({"emotion": before}), {"emotion": now}, tmp_path)
    assert found["corpora.emotion"][1].endswith(": 1 with other audio (u3)")
    earlier = {**summaries({"emotion": before})["emotion"]}
    del earlier["content"]  # of a version that did not keep it
    assert changes({"emotion": earlier}, {"emotion": now}, tmp_path) == {}


def test_the_fold_is_in_the_parts_and_not_in_the_digest(corpus, tmp_path):
    one = digest(corpus, tmp_path)
    other = digest(corpus, tmp_path, {"train": corpus[4:], "dev": corpus[:2], "test": corpus[2:4]})
    assert one.digest == other.digest
    assert one.parts != other.parts
    write_rows(tmp_path, {"emotion": one})
    found = changes(summaries({"emotion": one}), {"emotion": other}, tmp_path)
    assert "8 in another part (u0, u1, u2 and 5 more)" in found["corpora.emotion"][1]


def test_another_order_is_another_training_stream(corpus, tmp_path):
    one = digest(corpus, tmp_path)
    parts = {"train": corpus[3::-1], "dev": corpus[4:6], "test": corpus[6:]}
    write_rows(tmp_path, {"emotion": one})
    found = changes(
        summaries({"emotion": one}), {"emotion": digest(corpus, tmp_path, parts)}, tmp_path
    )
    assert found["corpora.emotion"][1].endswith(": in another order")


@pytest.mark.parametrize("content", [None, b"", b"\x1f\x8bnothing", b"[]"])
def test_without_the_rows_it_is_still_said_that_something_changed(corpus, tmp_path, content):
    before = summaries({"emotion": digest(corpus, tmp_path)})
    if content is not None:
        (tmp_path / "corpora.json.gz").write_bytes(content)
    now = digest(corpus[:-1], tmp_path, {"train": corpus[:-1], "dev": [], "test": []})
    found = changes(before, {"emotion": now}, tmp_path)
    assert found["corpora.emotion"][1] == f"7 utterances, digest {now.digest[:12]}"
    assert changes(None, {"emotion": now}, tmp_path) == {}  # a checkpoint of an earlier version


@pytest.fixture
def manifest(tiny_corpora, tmp_path):
    """Settings of a run on a manifest, and a function that swaps two emotions in it."""
    from spknorm.corpora.iemocap import read_iemocap

    records = read_iemocap(tiny_corpora / "iemocap")
    path = tmp_path / "emotion.csv"

    def write(swap=()):
        emotions = {one.id: one.emotion for one in records}
        for first, second in swap:
            emotions[first], emotions[second] = emotions[second], emotions[first]
        lines = [f"{o.path},{o.id},{emotions[o.id]},{o.speaker},{o.session}" for o in records]
        path.write_text("\n".join(["path,id,emotion,speaker,session", *lines]) + "\n")

    write()
    settings = tiny_runs.settings_of(
        tiny_corpora,
        strategy="none",
        expert={
            "datarc": {
                "corpus": "manifest", "manifest": str(path), "root": None, "allow_outside": True,
            }
        },
        total_steps=4,
    )  # fmt: skip
    by_emotion = {one.emotion: one.id for one in records}
    pair = (by_emotion["neu"], by_emotion["ang"])
    return settings, lambda: write([pair]), sorted(pair)


def longer(settings, **runner):
    return {**settings, "runner": {**settings["runner"], "total_steps": 6, **runner}}


def test_labels_that_were_swapped_between_start_and_resume_are_refused(
    tiny_hubert, manifest, tmp_path
):
    settings, swap, (first, second) = manifest
    tiny_runs.train(tiny_hubert, settings, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("*.ckpt")}
    swap()
    with pytest.raises(ConfigError) as error:
        tiny_runs.train(tiny_hubert, longer(settings), tmp_path / "run", resume=True)
    assert str(error.value).startswith("The run cannot go on with another emotion corpus: corpora.")
    assert f": 2 with other labels ({first}, {second})'. Put them back, " in str(error.value)
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").glob("*.ckpt")} == before


def test_accepted_they_begin_the_search_for_the_best_dev_step_anew(
    tiny_hubert, manifest, tmp_path, caplog
):
    settings, swap, _ = manifest
    tiny_runs.train(tiny_hubert, settings, tmp_path / "run")
    swap()
    changed = longer(settings, on_config_change="accept")
    tiny_runs.train(tiny_hubert, changed, tmp_path / "run", resume=True)
    assert "The run goes on with what changed: corpora.emotion was " in caplog.text
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    best = checkpoint.read(tmp_path / "run" / "dev-best.ckpt")
    assert best["Spknorm"]["corpora"] == result["corpora"]  # found on the dev set of now
    assert best["Step"] == result["best_step"] >= 4
    (one,) = result["accepted"]
    assert one["step"] == 4
    assert "2 with other labels" in one["changed"]["corpora.emotion"][1]
    (doubt,) = [text for text in runs.read(tmp_path).doubts if "went on" in text]
    assert doubt == (
        "run: went on after step 4 with what had changed (corpora.emotion), so that its steps are "
        "of two set-ups."
    )


def test_or_a_fork_goes_on_with_them_and_is_found_again(tiny_hubert, manifest, tmp_path):
    settings, swap, (first, _) = manifest
    tiny_runs.train(tiny_hubert, settings, tmp_path / "run")
    first_result = json.loads((tmp_path / "run" / "result.json").read_text())
    swap()
    changed = longer(settings, on_config_change="fork")
    tiny_runs.train(tiny_hubert, changed, tmp_path / "run", resume=True)
    result = json.loads((tmp_path / "run-fork1" / "result.json").read_text())
    assert first in result["forked_from"]["changed"]["corpora.emotion"][1]
    best = checkpoint.read(tmp_path / "run-fork1" / "dev-best.ckpt")
    assert best["Spknorm"]["corpora"] == result["corpora"]
    digests = [one["corpora"]["emotion"]["digest"] for one in (first_result, result)]
    assert digests[0] != digests[1]
    assert result["corpora"]["speaker"] is None
    tiny_runs.train(tiny_hubert, changed, tmp_path / "run", resume=True)
    assert not (tmp_path / "run-fork2").exists()


def test_the_speaker_corpus_is_known_too(tiny_hubert, tiny_corpora, tmp_path):
    shutil.copytree(tiny_corpora, tmp_path / "corpora")
    settings = tiny_runs.settings_of(tmp_path / "corpora", strategy="SNP", total_steps=4)
    tiny_runs.train(tiny_hubert, settings, tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    speaker = result["corpora"]["speaker"]
    assert speaker["num_utterances"] >= sum(
        part["num_utterances"] for part in speaker["parts"].values()
    )
    for path in sorted((tmp_path / "corpora" / "voxceleb1").rglob("*.wav"))[:1]:
        samples, rate = soundfile.read(path)
        soundfile.write(path, np.concatenate([samples, samples]), rate)
    with pytest.raises(ConfigError, match=r"another speaker corpus: .*1 with other audio \("):
        tiny_runs.train(tiny_hubert, longer(settings), tmp_path / "run", resume=True)


def under_s3prl(ckpt, settings, folder, *, step=None, **runner):
    """Train under s3prl's own Runner, from a checkpoint if a step is named; return the result."""
    from s3prl.downstream.runner import Runner

    section = {
        **settings["runner"],
        "engine": "s3prl",
        "eval_dataloaders": ["dev", "test"],
        "max_keep": 9,
    }
    mapping = {**settings, "runner": {**section, **runner}}
    mapping["optimizer"] = {k: v for k, v in settings["optimizer"].items() if k != "groups"}
    del mapping["upstream"]
    method = {**mapping["downstream_expert"]["spknorm"], "update": "reversal"}
    mapping["downstream_expert"] = {**mapping["downstream_expert"], "spknorm": method}
    flags = {"init_ckpt": str(folder / f"states-{step}.ckpt")} if step else {}
    tiny_runs.make_runner(ckpt, mapping, folder, runner=Runner, **flags).train()
    return json.loads((folder / "result.json").read_text())


def test_under_s3prl_s_runner_another_corpus_is_refused_or_accepted_too(
    tiny_hubert, manifest, tmp_path, caplog
):
    settings, swap, (first, second) = manifest
    folder = tmp_path / "run"
    result = under_s3prl(tiny_hubert, settings, folder)
    assert "accepted" not in result
    result = under_s3prl(tiny_hubert, settings, folder, step=2)  # 4 steps in all
    assert "accepted" not in result
    swap()
    with pytest.raises(ConfigError) as error:
        under_s3prl(tiny_hubert, settings, folder, step=4, total_steps=6)
    assert str(error.value).startswith("The run cannot go on with another emotion corpus: corpora.")
    assert str(error.value).endswith(
        f": 2 with other labels ({first}, {second})'. Put it back, start a new experiment (-n or "
        "-p), or add -o config.runner.on_config_change=accept."
    )
    accepting = {"total_steps": 6, "on_config_change": "accept", "gradient_clipping": 0.5}
    for _ in range(2):  # the second time is as if the first had been killed before it saved
        result = under_s3prl(tiny_hubert, settings, folder, step=4, **accepting)
    (one,) = result["accepted"]
    assert one["step"] == 4
    assert set(one["changed"]) >= {"config.runner.gradient_clipping"}
    assert result["best_step"] == 6  # no score of before counts
    assert "The run goes on with what changed: config.runner.gradient_clipping was" in caplog.text


def test_a_speaker_corpus_that_grew_is_refused_under_s3prl_s_runner(
    tiny_hubert, tiny_corpora, tmp_path
):
    shutil.copytree(tiny_corpora, tmp_path / "corpora")
    settings = tiny_runs.settings_of(
        tmp_path / "corpora", strategy="SNP", update="reversal", total_steps=2
    )
    under_s3prl(tiny_hubert, settings, tmp_path / "run")
    path = min((tmp_path / "corpora" / "voxceleb1").rglob("*.wav"))
    samples, rate = soundfile.read(path)
    soundfile.write(path, np.concatenate([samples, samples]), rate)
    with pytest.raises(ConfigError, match=r"another speaker corpus: .*1 with other audio \("):
        under_s3prl(tiny_hubert, settings, tmp_path / "run", step=2, total_steps=4)
