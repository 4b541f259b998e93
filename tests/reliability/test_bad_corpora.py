"""The whole command on corpora with faults: status 3 and a list, or the rest with --skip-bad."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import tiny_runs
import yaml

from spknorm import config
from spknorm.cli import main


@pytest.fixture
def corpora(tiny_corpora, tmp_path):
    """A copy of the small corpora, to be damaged."""
    return shutil.copytree(tiny_corpora, tmp_path / "corpora")


def run(corpora, tiny_hubert, folder, *options, **changes):
    settings = tiny_runs.settings_of(corpora, total_steps=1, eval_step=1, save_step=1)
    settings = config.merge(settings, {"downstream_expert": changes})
    (folder / "c.yaml").write_text(yaml.safe_dump(settings))
    arguments = ["-d", "emotion_spknorm", "-u", "hubert_local", "-k", str(tiny_hubert)]
    arguments += ["-c", str(folder / "c.yaml"), "-p", str(folder / "run"), "--device", "cpu"]
    return main(["run-downstream", *arguments, *options])


def damage(corpora):
    """Make four files bad; two of them in ways that headers do not show."""
    wavs = sorted(corpora.rglob("Ses0*_impro01_*[0-4].wav"))
    wavs[0].write_bytes(wavs[0].read_bytes()[:1000])
    wavs[7].write_bytes(b"no sound")
    soundfile.write(wavs[14], np.full(4800, np.nan), 16000, subtype="FLOAT")
    speakers = sorted((corpora / "voxceleb1").rglob("*.wav"))
    soundfile.write(speakers[0], np.zeros(10), 16000)
    return [wavs[0], wavs[7]], [wavs[14], speakers[0]]


@pytest.mark.fault("audio")
def test_bad_audio_ends_the_command_with_status_3_before_anything_is_trained(
    corpora, tiny_hubert, tmp_path, capsys
):
    seen, _ = damage(corpora)
    assert run(corpora, tiny_hubert, tmp_path) == 3
    said = capsys.readouterr().err
    for path in seen:
        assert f"{path}: " in said
    assert "audio files cannot be used (`--skip-bad` leaves them out and records which):" in said
    assert not list((tmp_path / "run").glob("states-*.ckpt"))


@pytest.mark.fault("audio")
def test_skip_bad_trains_on_the_rest_and_records_what_was_left_out(corpora, tiny_hubert, tmp_path):
    bad = [path for paths in damage(corpora) for path in paths]
    assert run(corpora, tiny_hubert, tmp_path, "--skip-bad") == 0
    skipped = json.loads((tmp_path / "run/skipped.json").read_text())
    assert set(skipped) == {str(path) for path in bad}
    assert [skipped[str(path)]["kind"] for path in bad] == [
        "truncated",
        "not_audio",
        "nonfinite",
        "short",
    ]
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["num_speakers"] >= 2


@pytest.mark.fault("audio")
def test_samples_that_headers_do_not_show_stop_the_run_when_they_are_read(
    corpora, tiny_hubert, tmp_path, capsys
):
    for path in (corpora / "iemocap").rglob("Ses01*.wav"):
        soundfile.write(path, np.full(4800, np.nan), 16000, subtype="FLOAT")
    assert run(corpora, tiny_hubert, tmp_path) == 3
    assert "samples are NaN or infinite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("role", "manifest", "said"),
    [
        ("emotion", "path,emotion\na.wav,neu\nb.wav,glad\n", "`b.wav`: `glad`"),
        ("emotion", "path,emotion\na.wav,neu\nb.wav,\n", "1 utterances of the emotion corpus have"),
        ("emotion", "path,emotion\na.wav,neu\nb.wav,hap\n", "has no utterance of ang, sad."),
        ("emotion", "path,emotion\na.wav,neu\na.wav,neu\n", "the id `a.wav` is that of line 2"),
        ("emotion", "path,emotion\n../a.wav,neu\n", "leads out of the root"),
        ("speaker", "path,speaker\na.wav,one\nb.wav,one\n", "has a single `speaker`, `one`."),
        ("speaker", "path,speaker\na.wav,one\nb.wav,\n", "1 utterances of the speaker corpus have"),
    ],
)
@pytest.mark.fault("manifest")
def test_a_manifest_that_cannot_serve_ends_the_command_with_status_3(
    corpora, tiny_hubert, tmp_path, capsys, role, manifest, said
):
    (corpora / "m.csv").write_text(manifest)
    section = "datarc" if role == "emotion" else "speaker_corpus"
    changes = {section: {"corpus": "manifest", "manifest": str(corpora / "m.csv"), "root": None}}
    assert run(corpora, tiny_hubert, tmp_path, **changes) == 3
    assert said in capsys.readouterr().err
