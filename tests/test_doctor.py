"""What `spknorm doctor` finds, and how its table says so."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from iemocap_trees import write_iemocap

import spknorm.doctor.machine as machine
from spknorm import config
from spknorm.cli import main
from spknorm.cli.doctor import table
from spknorm.corpora.iemocap import COUNTS
from spknorm.doctor import Check, examine, status_of

ROOT = Path(__file__).parents[1]
SMALL = dict.fromkeys(COUNTS, (2, 2, 2, 2))


@pytest.fixture(autouse=True)
def no_roots(monkeypatch):
    for variable in ("IEMOCAP_ROOT", "VOXCELEB1_ROOT", "LIBRISPEECH_ROOT"):
        monkeypatch.setenv(variable, "")  # so that what the command sets is undone


def expert(**changes):
    return config.parse({"downstream_expert": changes})


def settings(iemocap, speakers):
    return expert(
        datarc={"root": str(iemocap)},
        speaker_corpus={"corpus": "manifest", "manifest": str(speakers)},
    )


@pytest.fixture
def corpora(tmp_path):
    """An IEMOCAP of 40 utterances and a manifest of four files of two speakers."""
    speakers = tmp_path / "speakers"
    speakers.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    lines = ["path,speaker"]
    for number in range(4):
        soundfile.write(speakers / f"{number}.wav", noise, 16000)
        lines.append(f"{number}.wav,speaker{number % 2}")
    (speakers / "m.csv").write_text("\n".join(lines))
    return write_iemocap(tmp_path / "IEMOCAP", SMALL), speakers / "m.csv"


def by_name(checks):
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


def test_a_sound_set_up_passes(corpora, tmp_path):
    found = by_name(examine(settings(*corpora), folder=tmp_path / "result"))
    assert found["emotion corpus"] == Check(
        "emotion corpus",
        "ok",
        "iemocap: 40 utterances of 10 speakers; 10 neu, 10 hap, 10 ang, 10 sad",
    )
    assert found["IEMOCAP counts"].status == "warn"
    assert found["emotion corpus, headers"].detail == "0.0 h, 0.0 to 0.0 s, at 16000 Hz"
    assert found["speaker corpus"].detail == "manifest: 4 utterances of 2 speakers"
    assert found["speaker corpus, headers"].detail == "0.0 h, 0.5 to 0.5 s, at 16000 Hz"
    for name in ("python", "torch", "torchaudio", "s3prl", "soundfile", "s3prl's parts"):
        assert found[name].status == "ok"
    assert found["permission"] == Check("permission", "ok", f"{tmp_path} can be written")
    assert status_of(found.values()) == "warn"
    assert not (tmp_path / "result").exists()


def test_missing_corpora_fail_with_what_the_run_would_say(tmp_path):
    found = by_name(examine(expert(), folder=tmp_path))
    for name in ("emotion corpus", "speaker corpus"):
        assert found[name].status == "fail"
        assert "was not found" in found[name].detail
    assert status_of(found.values()) == "fail"


def test_without_an_adversary_no_speaker_corpus_is_asked_for(corpora, tmp_path):
    chosen = expert(datarc={"root": str(corpora[0])}, spknorm={"strategy": "none"})
    found = by_name(examine(chosen, folder=tmp_path))
    assert not [name for name in found if name.startswith("speaker")]


def test_bad_files_fail_and_are_listed(corpora, tmp_path):
    folder = corpora[1].parent
    (folder / "0.wav").write_bytes(b"no sound")
    soundfile.write(folder / "1.wav", np.full(8000, np.nan), 16000, subtype="FLOAT")
    (folder / "2.wav").unlink()
    headers = examine(settings(*corpora), folder=tmp_path)
    audio = examine(settings(*corpora), folder=tmp_path, audio=True)
    bad = next(one for one in headers if one.name == "speaker corpus, headers")
    assert bad.status == "fail"
    lines = bad.detail.splitlines()
    assert lines[0] == "2 of 4 files cannot be used (--skip-bad leaves them out):"
    assert lines[1].startswith(f"  {folder / '0.wav'}: not an audio file")
    assert lines[2].startswith(f"  {folder / '2.wav'}: there is no such file")
    bad = next(one for one in audio if one.name == "speaker corpus, audio")
    assert bad.detail.startswith("3 of 4 files")
    assert "8000 of 8000 samples are NaN or infinite" in bad.detail


def test_silence_and_clipping_are_warnings_on_request(corpora, tmp_path):
    folder = corpora[1].parent
    soundfile.write(folder / "0.wav", np.zeros(8000), 16000)
    soundfile.write(
        folder / "3.wav", np.clip(np.random.default_rng(0).normal(size=8000), -1, 1), 16000
    )
    found = by_name(examine(settings(*corpora), folder=tmp_path, audio=True))
    assert found["speaker corpus, silence"] == Check(
        "speaker corpus, silence",
        "warn",
        f"1 of 4 files (peak under -60 dB):\n  {folder / '0.wav'}",
    )
    assert found["speaker corpus, clipping"] == Check(
        "speaker corpus, clipping",
        "warn",
        f"1 of 4 files (over 0.1 % of the samples at full scale):\n  {folder / '3.wav'}",
    )
    assert found["emotion corpus, silence"].detail == "none in 40 files"
    assert "speaker corpus, silence" not in by_name(examine(settings(*corpora), folder=tmp_path))


def test_the_full_corpus_is_compared_with_the_literature(corpora, tmp_path):
    found = by_name(
        examine(settings(write_iemocap(tmp_path / "full"), corpora[1]), folder=tmp_path)
    )
    assert found["IEMOCAP counts"].status == "ok"
    gone = tmp_path / "full/Session3/sentences/wav"
    first = sorted(gone.rglob("*.wav"))
    for path in first[:300]:
        path.unlink()
    found = by_name(examine(settings(tmp_path / "full", corpora[1]), folder=tmp_path))
    assert found["IEMOCAP counts"].status == "warn"
    assert "Session3 has " in found["IEMOCAP counts"].detail


def test_a_full_disk_and_a_folder_that_cannot_be_written_fail(tmp_path, monkeypatch):
    usage = machine.shutil.disk_usage(tmp_path)
    for free, status in ((0.5e9, "fail"), (5e9, "warn"), (50e9, "ok")):
        monkeypatch.setattr(
            machine.shutil, "disk_usage", lambda _, free=free: usage._replace(free=int(free))
        )
        assert machine.check_disk(tmp_path).status == status
    check = machine.check_writing(Path("/proc/result"))
    assert check.status == "fail"
    assert check.detail.startswith("/proc cannot be written (")


def test_libraries_that_are_missing_or_broken_fail(monkeypatch):
    assert machine._check_package("no-such-package") == Check(
        "no-such-package", "fail", "not installed: pip install no-such-package"
    )
    monkeypatch.setitem(sys.modules, "s3prl.hub", None)
    check = machine._check_s3prl()
    assert check.status == "fail"
    assert check.detail.startswith("cannot be imported: ")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert machine._check_device().status == "fail"


def test_the_device_and_little_memory_are_told(monkeypatch):
    assert machine._check_device().status in ("ok", "warn")
    assert machine._check_memory().detail.split()[1].startswith("GB")
    monkeypatch.setattr(machine.os, "sysconf", lambda name: 4096 if "SIZE" in name else 10**6)
    assert machine._check_memory() == Check(
        "memory", "warn", "4 GB, less than 8: set datarc.pre_load: false"
    )


def test_long_recordings_are_a_warning(corpora, tmp_path):
    soundfile.write(corpora[1].parent / "0.wav", np.ones(61 * 16000) * 0.1, 16000)
    found = by_name(examine(settings(*corpora), folder=tmp_path))
    assert found["speaker corpus, headers"].detail == (
        "0.0 h, 0.5 to 61.0 s, at 16000 Hz; 1 are longer than a minute: much memory"
    )


def test_the_table_keeps_to_its_width():
    checks = [
        Check("disk", "ok", "3 GB"),
        Check("speaker corpus", "fail", "word " * 20 + "\n  a listed line"),
    ]
    lines = table(checks, width=60).splitlines()
    assert lines[0] == "ok    disk            3 GB"
    assert lines[1].startswith("fail  speaker corpus  word word")
    assert max(map(len, lines)) <= 60
    assert lines[-3] == " " * 24 + "a listed line"
    assert lines[-1] == "A run cannot start before what failed is put right."
    assert table(checks[:1], width=60).endswith("Everything is in place.")


def test_the_command_prints_a_table_and_its_status(corpora, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(
        f"downstream_expert: {{speaker_corpus: {{corpus: manifest, manifest: {corpora[1]}}}}}"
    )
    options = ["doctor", "-c", str(tmp_path / "c.yaml"), "-p", str(tmp_path / "result")]
    assert main([*options, "--iemocap", str(corpora[0])]) == 0
    assert "A run can start" in capsys.readouterr().out
    assert main([*options, "-o", "config.downstream_expert.datarc.root=nowhere"]) == 3
    assert "fail  emotion corpus" in capsys.readouterr().out
    assert main([*options, "--iemocap", str(tmp_path / "no")]) == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_of_an_experiment_file_a_run_with_both_corpora_is_examined(corpora, tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"config: {{downstream_expert: {{datarc: {{root: {corpora[0]}}}, "
        f"speaker_corpus: {{corpus: manifest, manifest: {corpora[1]}}}}}}}\n"
        "upstreams: [spknorm_demo_hubert]\nvariants: [{strategy: none}, {strategy: TAP}]\n"
    )
    assert main(["doctor", "-c", str(file), "-p", str(tmp_path / "result")]) == 0
    printed = capsys.readouterr().out
    assert "ok    speaker corpus" in printed
    assert "ok    budget" in printed


def test_of_a_kind_without_single_runs_the_doctor_names_the_dry_run(tmp_path, capsys):
    file = tmp_path / "c.yaml"
    file.write_text("kind: controlled")
    assert main(["doctor", "-c", str(file)]) == 2
    assert capsys.readouterr().err == (
        f"spknorm: {file} is of kind controlled, which has no single runs: `spknorm bench {file} "
        "--dry-run` says what it takes.\n"
    )


def test_the_library_of_the_doctor_loads_neither_torch_nor_s3prl():
    code = (
        "import sys, spknorm.doctor, spknorm.corpora; print({'torch', 's3prl'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.strip() == "set()"


def test_speakers_in_dev_alone_and_a_fold_that_is_none_fail_as_in_the_run(corpora, tmp_path):
    chosen = expert(
        datarc={"root": str(corpora[0]), "test_fold": "fold6"}, spknorm={"strategy": "none"}
    )
    found = by_name(examine(chosen, folder=tmp_path / "result"))
    assert found["si5 fold6"].status == "fail"
    lines = corpora[1].read_text().replace("speaker0", "speaker0,dev").replace("er1", "er1,train")
    corpora[1].write_text(lines.replace("path,speaker", "path,speaker,split"))
    found = by_name(examine(settings(*corpora), folder=tmp_path / "result"))
    assert found["si5 fold1"].status == "fail"
    assert (
        "The speaker corpus has 1 `speaker` with training utterances" in found["si5 fold1"].detail
    )


def test_what_a_corpus_leaves_out_is_in_the_table(corpora, tmp_path):
    folder = corpora[0] / "Session1/sentences/wav"
    (folder / "x.m4a").write_bytes(b"x")
    (folder / "._x.wav").write_bytes(b"x")
    found = by_name(examine(settings(*corpora), folder=tmp_path / "result"))
    assert found["emotion corpus, left out"].status == "warn"
    assert "2 files under" in found["emotion corpus, left out"].detail
    assert "1 .m4a" in found["emotion corpus, left out"].detail


def test_bad_files_that_the_run_skips_are_a_warning(corpora, tmp_path):
    wav = sorted(corpora[0].rglob("*.wav"))[0]
    wav.unlink()  # of one file with the others
    wav.write_bytes(b"no sound")
    chosen = expert(
        datarc={"root": str(corpora[0]), "skip_bad": True}, spknorm={"strategy": "none"}
    )
    found = by_name(examine(chosen, folder=tmp_path / "result"))
    assert found["emotion corpus, headers"].status == "warn"
    assert found["si5 fold1"].status == "ok"


def test_budgets_follow_from_the_upstream(corpora, tmp_path, monkeypatch):
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    chosen = config.parse(
        {
            "downstream_expert": {
                "datarc": {"root": str(corpora[0])},
                "spknorm": {"strategy": "none"},
            },
            "upstream": {"cache_limit_gb": 0.001},
        }
    )
    options = {"folder": tmp_path / "result", "upstream": "hubert_large_ll60k"}
    tuned = by_name(examine(chosen, **options))
    frozen = by_name(examine(chosen, **options, frozen=True))
    assert tuned["budget"].detail.startswith("about 3.78 GB a checkpoint, ")
    assert "feature cache" not in tuned
    assert frozen["feature cache"].status == "warn"
    assert frozen["feature cache"].detail.startswith(
        "at most 4.1 MB of pooled features of the frozen upstream are not cached: it would take"
    )
    usage = machine.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage._replace(free=int(7e9)))
    full = by_name(examine(chosen, **options))
    assert full["budget"].status == "fail"
    assert "two do not fit into 7 GB: choose another folder with -p" in full["budget"].detail
    unknown = by_name(examine(chosen, folder=tmp_path / "result", upstream="fbank"))
    assert unknown["budget"] == Check("budget", "warn", "the size of fbank is not known")
