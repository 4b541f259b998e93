"""Parts of a recording: from lists of turns, and what is predicted of them."""

import csv
import itertools

import numpy as np
import pytest
import soundfile
from trained_folders import make_trained

from spknorm.cli import main
from spknorm.demo.population import speak_neutral
from spknorm.errors import ConfigError, DataError, MissingError
from spknorm.predict import Segment, find_speech, load, read_segments
from spknorm.predict.segments import parts_of

RTTM = (
    "SPKR-INFO talk 1 <NA> <NA> <NA> unknown ann <NA> <NA>\n"
    "SPEAKER talk 1 1.50 0.75 <NA> <NA> ben <NA> <NA>\n"
    "SPEAKER talk 1 0.25 1.00 <NA> <NA> ann <NA> <NA>\n"
    "SPEAKER other 1 9.00 1.00 <NA> <NA> eve <NA> <NA>\n"
)
TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 3
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "ann"
        xmin = 0
        xmax = 3
        intervals: size = 2
        intervals [1]:
            xmin = 0.25
            xmax = 1.25
            text = "so"
        intervals [2]:
            xmin = 1.25
            xmax = 3
            text = ""
    item [2]:
        class = "IntervalTier"
        name = "ben"
        xmin = 0
        xmax = 3
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 1.5
            text = ""
        intervals [2]:
            xmin = 1.5
            xmax = 2.25
            text = "well"
"""
TURNS = [Segment(0.25, 1.25, "ann"), Segment(1.5, 2.25, "ben")]


SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
3
<exists>
3
"IntervalTier"
"ann"
0
3
2
0.5
1.5
"a"
1
2
"b"
"IntervalTier"
"ben"
0
3
2
0
1
""
1
2
"c"
"IntervalTier"
"nobody"
0
3
0
"""


@pytest.fixture(scope="module")
def expdir(tmp_path_factory, tiny_hubert):
    return make_trained(tmp_path_factory.mktemp("run"), tiny_hubert)


@pytest.fixture
def talk(tmp_path, tone):
    path = tmp_path / "talk.wav"
    soundfile.write(path, tone(3.0), 16000)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("turns.csv", "start,end,speaker\n1.5,2.25,ben\n0.25,1.25,ann\n"),
        (
            "turns.csv",
            "file,start,end,speaker\ntalk.wav,1.5,2.25,ben\nx/talk,.25,1.25,ann\nno,0,1,\n",
        ),
        (
            "turns.csv",
            "path,start,end,speaker\ntalk.wav,1.5,2.25,ben\nx/talk,.25,1.25,ann\nno,0,1,\n",
        ),
        ("turns.csv", "\ufeffend,start,speaker\r\n2.25,1.5,ben\r\n1.25,0.25,ann\r\n"),
        ("turns.rttm", RTTM),
        ("turns.TextGrid", TEXTGRID),
    ],
    ids=["csv", "csv of several files", "csv of predict", "csv from Excel", "rttm", "TextGrid"],
)
def test_turns_are_read_by_start_with_who_speaks(tmp_path, talk, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_segments(tmp_path / name, recording=talk) == TURNS


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        (
            "a.csv",
            "begin,end\n0,1\n",
            DataError,
            "a.csv lacks the columns start; it has begin, end",
        ),
        ("a.csv", "start,end\n0,x\n", DataError, "a.csv, line 2: `x` is no number of seconds"),
        ("a.csv", "start,end\n2,1\n", DataError, "line 2: a segment must start at 0 or later"),
        ("a.csv", "start,end\nnan,1\n", DataError, "line 2: `nan` is no number of seconds"),
        ("a.csv", "start,end\n", DataError, "lists no segment of talk.wav"),
        ("a.rttm", "SPEAKER talk 1 0.5\n", DataError, "line 1: a SPEAKER line has at least 8"),
        ("a.rttm", RTTM.replace(" talk ", " no "), DataError, "lists no segment of talk.wav"),
        ("a.TextGrid", "nonsense", DataError, "a.TextGrid is no TextGrid"),
        ("a.TextGrid", "", DataError, "a.TextGrid is no TextGrid, or not a whole one: save it"),
        ("a.TextGrid", SHORT[:-9], DataError, "a.TextGrid is no TextGrid, or not a whole one"),
        (
            "a.TextGrid",
            SHORT.replace("0.5\n1.5", "1.5\n0.5"),
            DataError,
            "tier ann: a segment must start at 0 or later and end after that, but this one is 1.5",
        ),
        ("a.csv", "start,end,end\n0,1,2\n", DataError, "a.csv has two columns `end`: rename one"),
        ("a.txt", "", ConfigError, "`--segments` must be vad or a file that ends in .csv"),
    ],
)
def test_a_list_that_cannot_be_read_is_named_with_its_line(
    tmp_path, talk, name, content, error, message
):
    (tmp_path / name).write_text(content)
    with pytest.raises(error, match=message):
        read_segments(tmp_path / name, recording=talk)


def test_turns_of_a_file_of_the_same_name_in_another_folder_are_left_out(tmp_path):
    ours, theirs = tmp_path / "a" / "talk.wav", tmp_path / "b" / "talk.wav"
    path = tmp_path / "turns.csv"
    path.write_text(f"path,start,end\n{ours},0,1\n{theirs},2,3\n")
    assert read_segments(path, recording=ours) == [Segment(0.0, 1.0)]
    assert read_segments(path, recording=theirs) == [Segment(2.0, 3.0)]
    moved = read_segments(path, recording=tmp_path / "c" / "talk.wav")
    assert moved == [Segment(0.0, 1.0), Segment(2.0, 3.0)]


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
def test_a_short_textgrid_in_any_of_praats_codings_is_read_though_turns_overlap(
    tmp_path, talk, coding
):
    text = SHORT.replace("ann", "Zoë")
    mark = b"\xfe\xff" if coding == "utf-16-be" else b""
    (tmp_path / "a.TextGrid").write_bytes(mark + text.encode(coding))
    found = read_segments(tmp_path / "a.TextGrid", recording=talk)
    assert found == [(0.5, 1.5, "Zoë"), (1.0, 2.0, "Zoë"), (1.0, 2.0, "ben")]


def test_tiers_of_one_name_are_one_speaker_and_one_without_turns_is_nobody(tmp_path, talk):
    text = SHORT.replace('"ben"', '"ann"').replace('"c"', '""')
    (tmp_path / "a.TextGrid").write_text(text)
    assert {turn.speaker for turn in read_segments(tmp_path / "a.TextGrid", recording=talk)} == {
        "ann"
    }


def test_a_turn_of_nobody_in_rttm_has_no_speaker(tmp_path, talk):
    (tmp_path / "a.rttm").write_text("SPEAKER talk 1 0.5 1.0 <NA> <NA> <NA> <NA> <NA>\n")
    assert read_segments(tmp_path / "a.rttm", recording=talk) == [(0.5, 1.5, None)]


def test_a_list_that_is_not_there_is_named(tmp_path, talk):
    with pytest.raises(MissingError, match=r"no file .*no\.csv with segments"):
        read_segments(tmp_path / "no.csv", recording=talk)


def test_each_turn_is_predicted_as_that_part_of_the_recording_alone(expdir, talk):
    predictor = load(expdir)
    rows = list(predictor.predict_file(talk, segments=TURNS))
    wav, _ = soundfile.read(talk, dtype="float32")
    for row, turn in zip(rows, TURNS, strict=True):
        part = wav[int(16000 * turn.start) : int(16000 * turn.end)]
        assert (row.start, row.end, row.speaker) == (turn.start, turn.end, turn.speaker)
        assert row.probabilities == predictor.predict(part, 16000)


def test_no_window_reaches_from_one_turn_into_the_next(expdir, talk):
    rows = load(expdir).predict_file(talk, segments=TURNS, window_seconds=0.4, hop_seconds=0.4)
    spans = [(round(row.start, 3), round(row.end, 3), row.speaker) for row in rows]
    assert spans == [
        *[(0.25, 0.65, "ann"), (0.65, 1.05, "ann"), (1.05, 1.25, "ann")],
        *[(1.5, 1.9, "ben"), (1.9, 2.25, "ben")],
    ]


def test_turns_behind_the_end_are_left_out_and_told(expdir, talk, caplog):
    turns = [Segment(1.0, 1.01), Segment(2.5, 9.0, "ann"), Segment(5.0, 6.0, "ben")]
    (row,) = load(expdir).predict_file(talk, segments=turns)
    assert (row.start, row.end) == (2.5, 3.0)
    assert caplog.messages == [
        f"{talk}: 2 of 3 segments are left out, behind its end or under 25 ms long."
    ]


@pytest.mark.parametrize("start", [0.0, 1e300])
def test_turns_in_samples_or_milliseconds_do_not_go_on_for_ever(talk, monkeypatch, start):
    asked = []

    def look(path, spans):
        asked.extend(itertools.islice(spans, 1000))
        return iter(())

    monkeypatch.setattr("spknorm.predict.segments.iter_parts", look)
    assert list(parts_of(talk, 0.1, 0.1, [Segment(start, 2e300)])) == []
    assert len(asked) <= 41  # windows in its 3 s and one more


def test_the_command_writes_who_speaks(expdir, talk, tmp_path, capsys):
    (tmp_path / "turns.rttm").write_text(RTTM)
    segments = ["--segments", str(tmp_path / "turns.rttm")]
    assert main(["predict", str(expdir), str(talk), *segments]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [(row["start"], row["end"], row["speaker"]) for row in rows] == [
        *[("0.25", "1.25", "ann"), ("1.5", "2.25", "ben")],
    ]


def test_speech_is_found_by_a_detector(tmp_path):
    silence = np.zeros(32000, dtype=np.float32)
    voice = np.concatenate([speak_neutral(0, 2, number) for number in range(3)])
    soundfile.write(tmp_path / "a.wav", np.concatenate([silence, voice, silence]), 16000)
    found = find_speech(tmp_path / "a.wav")
    assert found[0].start == pytest.approx(2.0, abs=0.2)
    assert found[-1].end == pytest.approx(2.0 + len(voice) / 16000, abs=0.5)
    assert {segment.speaker for segment in found} == {None}


def test_where_nobody_speaks_the_detector_says_so(tmp_path, tone):
    soundfile.write(tmp_path / "silence.wav", 0 * tone(2.0), 16000)
    with pytest.raises(DataError, match=r"No speech was found in .*silence\.wav"):
        find_speech(tmp_path / "silence.wav")
