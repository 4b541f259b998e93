import importlib
import shlex
from pathlib import Path

from spknorm.cli import (
    main,
)


def test_the_demo_corpora_are_written_where_asked(tmp_path, capsys, monkeypatch):
    import spknorm.demo

    def make(folder, *, rho, seed, progress):
        progress(1, 2)
        assert (rho, seed) == (0.5, 3)
        return spknorm.demo.DemoRoots(folder / "iemocap", folder / "voxceleb1", folder / "list")

    monkeypatch.setattr(spknorm.demo, "make_demo_corpora", make)
    assert main(["demo", str(tmp_path), "--rho", "0.5", "--seed", "3"]) == 0
    told = f"export IEMOCAP_ROOT={tmp_path}/iemocap VOXCELEB1_ROOT={tmp_path}/voxceleb1\n"
    assert capsys.readouterr().out == told
    folder = tmp_path / "it's a folder"
    assert main(["demo", str(folder), "--rho", "0.5", "--seed", "3"]) == 0
    export, *roots = shlex.split(capsys.readouterr().out)  # as a shell reads what is pasted
    assert export == "export"
    assert roots == [f"IEMOCAP_ROOT={folder}/iemocap", f"VOXCELEB1_ROOT={folder}/voxceleb1"]


def test_an_export_says_where_it_is_and_what_it_lacks(tmp_path, capsys, monkeypatch):
    export = importlib.import_module("spknorm.export")
    calls = []

    def write(expdir, out, *, formats, onnx):
        calls.append((expdir, out, formats, onnx))
        return export.Exported(tmp_path / "out", None, (), False, "its head has two layers")

    monkeypatch.setattr(export, "export", write)
    monkeypatch.setattr(
        export, "push", lambda folder, name, *, private: f"{folder.name} -> {name} {private}"
    )
    assert main(["export", str(tmp_path), "--push", "me/model"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/out",
        "without the emotion classifier for transformers: its head has two layers",
        "out -> me/model True",
    ]
    assert main(["export", str(tmp_path), "--out", "x", "--format", "s3prl"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/out\n"
    assert calls == [
        (tmp_path, None, ("s3prl", "transformers"), False),
        (tmp_path, Path("x"), ("s3prl",), False),
    ]


def test_predictions_are_printed_or_written(tmp_path, capsys, monkeypatch):
    predict = importlib.import_module("spknorm.predict")
    row = predict.Prediction(Path("a.wav"), 0.0, 1.5, "hap", {"neu": 0.25, "hap": 0.75})

    def rows(predictor, paths, *, window_seconds, hop_seconds, segments, failed):
        assert (predictor, paths) == ((tmp_path, "cpu"), [Path("a.wav"), Path("b.wav")])
        assert (window_seconds, hop_seconds, segments) == (4.0, 2.0, None)
        if failed is not None:
            failed[Path("b.wav")] = "no audio"
        yield row

    monkeypatch.setattr(predict, "load", lambda path, device: (path, device))
    monkeypatch.setattr(predict, "predict_files", rows)
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "b.wav"):
        Path(name).write_bytes(b"RIFF")
    argv = ["predict", str(tmp_path), "a.wav", "b.wav", "--window", "4", "--hop", "2"]
    assert main(argv) == 0
    assert capsys.readouterr().out == (
        "path,start,end,emotion,neu,hap\na.wav,0.0,1.5,hap,0.25,0.75\n"
    )
    out = tmp_path / "out.jsonl"
    assert main([*argv, "--skip-bad", "--out", str(out)]) == 3  # b.wav was left out
    assert capsys.readouterr().out == f"1 rows in {out}\n"
    assert '"emotion": "hap"' in out.read_text()


def test_an_audit_prints_its_table(tmp_path, capsys, monkeypatch):
    audit = importlib.import_module("spknorm.probe.audit")
    calls = {}

    def probe(folders, *, tell, progress, **options):
        progress(1, 2)
        tell("hearing")
        calls.update(options, folders=folders)
        return ["row"]

    monkeypatch.setattr(audit, "audit", probe)
    monkeypatch.setattr(audit, "table", lambda rows: f"table of {len(rows)}")
    argv = ["audit", str(tmp_path), "--label", "gender", "--every-layer", "--max-speakers", "9"]
    assert main(argv) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("table of 1\n", "hearing\n")
    assert calls == {
        "folders": [tmp_path],
        "every_run": False,
        "every_layer": True,
        "labels": ("gender",),
        "max_speakers": 9,
        "most": 15000,
        "part": (1, 1),
        "seed": 0,
        "verifier": False,
        "device": "cpu",
    }
