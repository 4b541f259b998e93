"""Through the command line, from the trees to the last file: eight classes, and dimensions."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from spknorm.demo.corpus_trees import write_tree

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
EIGHT = ["neu", "hap", "ang", "sad", "calm", "dis", "fea", "sur"]
SHORT = {
    "runner.total_steps": 8, "runner.eval_step": 4, "runner.save_step": 4, "runner.log_step": 4,
    "runner.gradient_accumulate_steps": 1, "downstream_expert.datarc.train_batch_size": 16,
    "downstream_expert.datarc.num_workers": 0, "downstream_expert.speaker_corpus.corpus": "demo",
    "downstream_expert.spknorm.speaker_pretrain_steps": 20,
}  # fmt: skip


def spknorm(*arguments, status=0):
    """Run a command of the library in a process of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "spknorm", *map(str, arguments)],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr[-3000:]
    return done.stdout


def train(folder, strategy, **settings):
    asked = {**SHORT, "downstream_expert.spknorm.strategy": strategy, **settings}
    override = ",,".join(f"config.{key}={value}" for key, value in asked.items())
    spknorm(
        "run-downstream", "-m", "train", "-d", "emotion_spknorm", "-u", "spknorm_demo_hubert",
        "-p", folder, "-o", override, "--device", "cpu",
    )  # fmt: skip
    return json.loads((folder / "result.json").read_text())


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_eight_classes_of_ravdess_train_report_audit_predict_and_export(tmp_path):
    write_tree(tmp_path / "ravdess", "ravdess", num_speakers=8, per_emotion=2)
    data = {
        "downstream_expert.datarc.corpus": "ravdess",
        "downstream_expert.datarc.root": tmp_path / "ravdess",
        "downstream_expert.datarc.labels": "all",
        "downstream_expert.datarc.protocol": "loso-group",
        "downstream_expert.datarc.groups": 2,
        "downstream_expert.datarc.class_weights": "balanced",
        "runner.select_by": "macro_f1",
    }
    bench = tmp_path / "bench"
    for strategy in ("none", "TAP"):
        result = train(bench / strategy, strategy, **data)
        assert result["test"]["classes"] == result["test"]["ua_over"] == EIGHT
        assert len(result["test"]["by_speaker"]) == 4
        assert result["split"]["dev"] == "speaker_disjoint"
    assert "linear" in spknorm("audit", bench / "TAP")
    spknorm("report", bench)
    said = (bench / "table.md").read_text()
    assert "Protocol loso-group: groups of speakers held out" in said
    assert "| spknorm\\_demo\\_hubert | TAP" in said
    wav = next((tmp_path / "ravdess").rglob("*.wav"))
    (row,) = rows_of(spknorm("predict", bench / "TAP", wav))
    assert [*row][4:] == EIGHT
    assert sum(float(row[name]) for name in EIGHT) == pytest.approx(1, abs=1e-6)
    spknorm("export", bench / "TAP")
    exported = bench / "TAP/export"
    labels = json.loads((exported / "config.json").read_text())["id2label"]
    assert [*labels.values()] == EIGHT


def test_dimensions_of_iemocap_s_layout_train_report_audit_predict_and_export(tmp_path):
    from spknorm.demo import make_demo_corpora

    roots = make_demo_corpora()
    data = {
        "downstream_expert.datarc.corpus": "iemocap",
        "downstream_expert.datarc.root": roots.iemocap,
        "downstream_expert.datarc.targets": "dimensions",
        "downstream_expert.datarc.dev": "speaker_disjoint",
    }
    bench = tmp_path / "bench"
    for strategy in ("none", "TAP"):
        found = train(bench / strategy, strategy, **data)["dimensions"]
        assert (found["low"], found["high"]) == (1.0, 5.0)
        assert len(found["test"]["by_speaker"]) == 2
        assert set(found["test"]["ccc"]) == {"arousal", "valence", "dominance"}
    assert "emotion" in spknorm("audit", bench / "TAP")
    spknorm("report", bench)
    said = (bench / "table.md").read_text()
    assert "| Upstream | Method | arousal CCC | interval |" in said
    wav = next(roots.iemocap.rglob("*.wav"))
    (row,) = rows_of(spknorm("predict", bench / "TAP", wav))
    assert [*row] == ["path", "start", "end", "arousal", "valence", "dominance"]
    assert all(0 < float(row[name]) < 6 for name in ("arousal", "valence", "dominance"))
    spknorm("export", bench / "TAP")
    config = json.loads((bench / "TAP/export/config.json").read_text())
    assert config["problem_type"] == "regression"
    assert [*config["id2label"].values()] == ["arousal", "valence", "dominance"]


def test_a_matrix_over_three_corpora_comes_of_the_shipped_experiment(tmp_path):
    import yaml

    for corpus in ("ravdess", "crema_d", "emodb"):
        spknorm("demo", tmp_path / "trees", "--corpus", corpus)
    content = yaml.safe_load((ROOT / "configs/cross_demo.yaml").read_text())
    content["variants"] = content["variants"][:1]
    data = content["config"]["downstream_expert"]["datarc"]
    data["roots"] = {name: str(tmp_path / "trees" / name) for name in data["roots"]}
    file = tmp_path / "cross_demo.yaml"
    file.write_text(yaml.safe_dump(content))
    spknorm("bench", file, "--out", tmp_path / "out", "--quick")
    said = (tmp_path / "out/table.md").read_text()
    assert "| Trained on | on ravdess | on emodb | on crema" in said
    assert "Classes in common, by run: neu, hap, ang, sad" in said
