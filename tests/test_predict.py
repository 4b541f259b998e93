import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from trained_folders import make_trained

import spknorm
from spknorm import predict
from spknorm.audio import AudioError
from spknorm.errors import CheckpointError, ConfigError, DataError, MissingError
from spknorm.predict import find_audio, load, predict_files, to_csv, write_rows
from spknorm.predict.rows import Prediction


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_hubert):
    return make_trained(tmp_path_factory.mktemp("run"), tiny_hubert)


@pytest.fixture(scope="module")
def predictor(trained):
    return load(trained)


@pytest.fixture
def write(tmp_path, tone):
    def make(name, seconds, *, rate=16000, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        wav = tone(seconds * rate / 16000, **options)
        soundfile.write(path, wav, rate, subtype="FLOAT" if path.suffix == ".wav" else None)
        return path

    return make


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strategy": "SNP"},
        {"strategy": "none"},
        {"strategy": "SNP", "frozen": True, "selection": "hidden_states"},
        {"modelrc": {"select": "NonLinearProjection"}},
        {
            "modelrc": {
                "select": "DeepModel",
                "DeepModel": {
                    "model_type": "CNNSelfAttention",
                    "hidden_dim": 8,
                    "kernel_size": 5,
                    "padding": 2,
                    "pooling": 5,
                    "dropout": 0.4,
                },
            }
        },
    ],
)
def test_probabilities_are_those_of_the_trained_parts(options, tmp_path, tiny_hubert, tone):
    from s3prl import hub
    from s3prl.upstream.interfaces import Featurizer

    from spknorm.method.model import Heads
    from spknorm.runs.trained import read_checkpoint

    folder = make_trained(tmp_path / "run", tiny_hubert, **options)
    state = read_checkpoint(folder)
    upstream = hub.hubert_local(ckpt=str(tiny_hubert))
    upstream.load_state_dict(state.get("Upstream", upstream.state_dict()))
    selection = options.get("selection", "last_hidden_state")
    featurizer = Featurizer(upstream, selection, "cpu")
    featurizer.load_state_dict(state["Featurizer"])
    model = state["Config"]["downstream_expert"]["modelrc"]
    heads = Heads(
        32,
        num_emotions=4,
        num_speakers=5,
        strategy=options.get("strategy", "TAP"),
        projector_dim=8,
        select=model["select"],
        select_options=model[model["select"]],
    )
    heads.load_state_dict({k.removeprefix("heads."): v for k, v in state["Downstream"].items()})
    for module in (upstream, featurizer, heads):
        module.eval()
    wavs = [torch.from_numpy(tone(1.1))]
    with torch.no_grad():
        expected = heads.emotion_logits(featurizer(wavs, upstream(wavs)))[0].softmax(dim=-1)
    found = load(folder).predict(wavs[0].numpy(), 16000)
    assert list(found) == ["neu", "hap", "ang", "sad"]
    assert np.allclose(list(found.values()), expected, atol=1e-6)
    assert sum(found.values()) == pytest.approx(1.0)


def test_three_lines_are_enough(trained, tone):
    probabilities = spknorm.load(trained).predict(tone(1.0), 16000)
    assert max(probabilities, key=probabilities.get) in ("neu", "hap", "ang", "sad")


def test_any_rate_and_any_number_of_channels_are_heard(predictor, tone):
    mono = tone(1.0)
    stereo = np.stack([mono, mono], axis=1)
    assert predictor.predict(stereo, 16000) == predictor.predict(mono, 16000)
    other = predictor.predict(tone(48000 / 16000), 48000)
    assert set(other) == set(predictor.emotions)


def test_a_file_and_its_samples_give_the_same(predictor, write, tone):
    path = write("a.wav", 1.0)
    (row,) = predictor.predict_file(path)
    assert (row.path, row.start, row.end) == (path, 0.0, 1.0)
    assert row.probabilities == predictor.predict(tone(1.0), 16000)
    assert row.emotion == max(row.probabilities, key=row.probabilities.get)


def test_windows_of_a_long_recording_are_those_of_its_pieces(predictor, write, tone):
    path = write("long.wav", 65.0)
    rows = list(predictor.predict_file(path))
    assert [row.start for row in rows] == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
    assert rows[-1].end == pytest.approx(65.0)
    samples = tone(65.0)
    for row in rows:
        piece = samples[int(row.start * 16000) : int(row.end * 16000)]
        assert row.probabilities == predictor.predict(piece, 16000)


def test_windows_can_be_asked_for_and_overlap(predictor, write):
    path = write("b.wav", 3.0)
    rows = list(predictor.predict_file(path, window_seconds=1.0, hop_seconds=0.5))
    assert [row.start for row in rows] == [0.0, 0.5, 1.0, 1.5, 2.0]
    with pytest.raises(ConfigError) as caught:
        list(predictor.predict_file(path, hop_seconds=1.0))
    assert str(caught.value) == "`hop_seconds` has no effect without `window_seconds`."


def test_folders_are_searched_with_everything_below_them(predictor, write, tmp_path):
    paths = [write("x/b.flac", 0.5), write("x/a.wav", 0.5), write("x/y/c.WAV", 0.5)]
    (tmp_path / "x" / "notes.txt").write_text("no audio")
    rows = list(predict_files(predictor, [tmp_path / "x", paths[1]]))
    assert [row.path.name for row in rows] == ["a.wav", "b.flac", "c.WAV"]


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(MissingError) as caught:
        find_audio([tmp_path / "none"])
    assert str(caught.value) == f"There is no file or folder {tmp_path / 'none'}."
    with pytest.raises(MissingError, match=r"holds no audio file \(\.aif, "):
        find_audio([tmp_path])


def test_a_bad_file_stops_or_is_noted(predictor, write, tmp_path):
    good = write("z.wav", 0.5)
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF nothing")
    with pytest.raises(AudioError):
        list(predict_files(predictor, [bad, good]))
    failed = {}
    rows = list(predict_files(predictor, [bad, good], failed=failed))
    assert [row.path for row in rows] == [good]
    assert list(failed) == [bad]


def test_a_name_with_line_breaks_is_one_cell_of_one_line(predictor, write, tmp_path):
    path = write('a\r\n\x1b[2J,".wav', 0.5)
    write_rows(predictor.predict_file(path), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        header, row = csv.reader(file)
    assert row[0] == f'{tmp_path}/a\\x0d\\x0a\\x1b[2J,".wav'
    assert len(row) == len(header)


def test_whole_numbers_are_heard_by_their_type_s_range(predictor, tone):
    wav = tone(0.5)
    short = (wav * 32768).round().astype(np.int16)
    expected = predictor.predict(short / np.float32(32768), 16000)
    for same in (
        short,
        short.astype(np.int32) << 16,
        (short.astype(np.int32) + 32768).astype("u2"),
    ):
        assert predictor.predict(same, 16000) == expected
    with pytest.raises(DataError, match=r"samples are far above 1: divide by its full scale"):
        predictor.predict(wav * 1e30, 16000)


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_of_silence_it_is_said_that_there_is_none(level, predictor, write, tmp_path, caplog):
    soundfile.write(tmp_path / "still.wav", np.full(8000, level), 16000)
    tone = soundfile.read(write("tone.wav", 1.0))[0]
    soundfile.write(tmp_path / "half.wav", np.concatenate([tone, np.zeros(16000)]), 16000)
    rows = list(predict_files(predictor, [tmp_path / "still.wav", tmp_path / "tone.wav"]))
    rows += list(predictor.predict_file(tmp_path / "half.wav", window_seconds=0.5))
    assert len(rows) == 6
    assert caplog.messages == [
        f"{tmp_path}/still.wav: it is silence (under -60 dB), of which no emotion can be told.",
        f"{tmp_path}/half.wav: 2 of 4 parts are silence (under -60 dB), of which no emotion can "
        "be told.",
    ]


def test_rows_are_written_as_csv_and_as_jsonl(predictor, write, tmp_path):
    rows = list(predictor.predict_file(write("c.wav", 2.0), window_seconds=1.0))
    assert write_rows(iter(rows), tmp_path / "out.csv") == 2
    assert write_rows(iter(rows), tmp_path / "out.jsonl") == 2
    table = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert list(table[0]) == ["path", "start", "end", "emotion", "neu", "hap", "ang", "sad"]
    assert float(table[1]["start"]) == 1.0
    assert float(table[0]["sad"]) == pytest.approx(rows[0].probabilities["sad"], abs=1e-9)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines[1]["emotion"] == rows[1].emotion
    assert lines[0]["probabilities"]["neu"] == pytest.approx(rows[0].probabilities["neu"], abs=1e-9)
    assert to_csv(rows[0], header=True).splitlines()[0] == ",".join(table[0])
    with pytest.raises(ConfigError) as caught:
        write_rows(rows, tmp_path / "out.xml")
    assert str(caught.value) == ("Predictions are written as .csv or .jsonl, but not as `out.xml`.")


def test_a_class_with_the_name_of_a_column_has_one_of_its_own():
    row = Prediction(Path("a.wav"), 0.0, 1.0, "speaker", {"path": 0.25, "speaker": 0.75})
    (found,) = csv.DictReader(to_csv(row, header=True).splitlines())
    assert found == {
        "path": "a.wav", "start": "0.0", "end": "1.0", "emotion": "speaker",
        "path (class)": "0.25", "speaker (class)": "0.75",
    }  # fmt: skip
    of_somebody = row._replace(speaker="s1")
    (known,) = csv.DictReader(to_csv(of_somebody, header=True).splitlines())
    assert known == {**found, "speaker": "s1"}  # the same classes, whether it is known who speaks


def test_a_file_that_was_being_written_leaves_no_part(predictor, write, tmp_path):
    def broken():
        yield from predictor.predict_file(write("d.wav", 0.5))
        raise OSError("unplugged")

    with pytest.raises(OSError, match="unplugged"):
        write_rows(broken(), tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("wav", "rate", "message"),
    [
        (
            np.zeros(399),
            16000,
            "The recording has 399 samples at 16 kHz, but at least 400 (25 ms) are needed.",
        ),
        (np.full(1000, np.nan), 16000, "The recording holds NaN or infinity."),
        (
            np.zeros((2, 2, 2)),
            16000,
            "A recording is (L,), (1, L) or (L, channels) samples at a rate above 0, but this one "
            "has shape (2, 2, 2) at 16000.",
        ),
        (
            np.zeros(1000),
            0,
            "A recording is (L,), (1, L) or (L, channels) samples at a rate above 0, but this one "
            "has shape (1000,) at 0.",
        ),
        (
            np.zeros((2, 1000)),
            16000,
            "A recording is (L,), (1, L) or (L, channels) samples at a rate above 0, but this one "
            "has shape (2, 1000) at 16000. Turn it: wav.T has shape (1000, 2).",
        ),
    ],
)
def test_what_cannot_be_heard_is_refused(wav, rate, message, predictor):
    with pytest.raises(DataError) as caught:
        predictor.predict(wav, rate)
    assert str(caught.value) == message


def test_classes_of_a_manifest_come_from_the_result_file(tmp_path, tiny_hubert, tone):
    folder = make_trained(tmp_path / "run", tiny_hubert)
    result = json.loads((folder / "result.json").read_text())
    result["test"]["classes"] = ["a", "b", "c", "d"]
    (folder / "result.json").write_text(json.dumps(result))
    assert list(load(folder).predict(tone(0.5), 16000)) == ["a", "b", "c", "d"]


def test_a_lost_upstream_is_named(tmp_path, tiny_hubert):
    copy = tmp_path / "copy.pt"
    copy.write_bytes(tiny_hubert.read_bytes())
    folder = make_trained(tmp_path / "run", copy)
    copy.unlink()
    with pytest.raises(MissingError) as caught:
        load(folder)
    assert str(caught.value) == (
        f"{folder} was trained on the upstream checkpoint {copy}, which is not there. "
        "Put it back; its configuration is needed to build the model."
    )


def test_weights_of_another_shape_are_refused(trained, tmp_path, tiny_hubert):
    from spknorm.runs.trained import read_checkpoint

    state = read_checkpoint(trained)
    state["Upstream"]["model.mask_emb"] = torch.zeros(3)
    torch.save(state, tmp_path / "dev-best.ckpt")
    with pytest.raises(CheckpointError, match="does not fit the upstream hubert_local"):
        load(tmp_path)


def test_an_erasure_baseline_cannot_hear_single_recordings(tmp_path, tiny_hubert):
    run = make_trained(
        tmp_path / "run", tiny_hubert, strategy="none", frozen=True, method={"erasure": "znorm"}
    )
    with pytest.raises(ConfigError) as caught:
        load(run)
    assert str(caught.value) == (
        f"{run} is a baseline with erasure znorm, which scores a whole corpus; "
        "it cannot hear single recordings."
    )


def test_loading_leaves_the_global_random_state_alone(trained):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load(trained)
    assert torch.rand(1) == expected


@pytest.mark.slow
def test_an_hour_is_heard_in_under_a_gigabyte(trained, tmp_path):
    import subprocess
    import sys

    path = tmp_path / "hour.wav"
    generator = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 16000, 1, subtype="PCM_16") as file:
        for _ in range(360):
            file.write(0.1 * generator.standard_normal(160_000))
    code = (
        "import pathlib, spknorm\n"
        f"rows = list(spknorm.load({str(trained)!r}).predict_file({str(path)!r}))\n"
        "assert len(rows) == 360, len(rows)\n"
        # not getrusage: it starts at what the parent process used
        "print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 1e9
    assert predict.WINDOW_SECONDS == 10.0
