"""How far long work is: bars with the time left on a terminal, a line now and then elsewhere."""

import re
import sys

import numpy as np
import pytest
import soundfile
from fake_results import make_bench
from terminals import seen_in_a_terminal
from trained_folders import make_trained

from spknorm import export, report
from spknorm.audio import AudioIndex
from spknorm.cli import main
from spknorm.cli.bars import bar
from spknorm.config import progress
from spknorm.config.progress import Progress, counted
from spknorm.corpora.records import Utterance
from spknorm.doctor import sound
from spknorm.features.reader import CachedReader
from spknorm.protocols import Split
from spknorm.protocols.leaks import count_shared
from spknorm.schema import UpstreamConfig


@pytest.fixture
def seen(capsys, monkeypatch):
    """What is written to the standard error, which is a terminal where bars appear at once."""
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True)
    monkeypatch.setattr(progress, "BAR_AFTER", 0.0)
    return lambda: capsys.readouterr().err


@pytest.fixture
def utterances(tmp_path, tone):
    found = []
    for number in range(6):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, (0.1 + number / 10) * tone(0.5), 16000)
        found.append(Utterance(id=str(number), path=path, speaker="a", emotion="neu"))
    return found


def bars(seen):
    """The names of the bars that told of time left, in the order of their coming."""
    return list(dict.fromkeys(re.findall(r"([a-z ]+): +\d+%\|[^|]*\| \d+/\d+ \[\d\d:\d\d<", seen)))


@pytest.fixture
def done(monkeypatch):
    """How much of how much was done, by name."""
    advance, found = Progress.advance, {}

    def noted(self, count=1):
        advance(self, count)
        found[self._what] = self._done, self._total

    monkeypatch.setattr(Progress, "advance", noted)
    return found


def test_on_a_terminal_there_is_a_bar_with_the_time_left(seen):
    assert list(counted("headers", [3, 4])) == [3, 4]
    assert bars(seen()) == ["headers"]


def test_short_work_shows_nothing(seen, monkeypatch):
    monkeypatch.setattr(progress, "BAR_AFTER", 60.0)
    assert list(counted("headers", [3, 4])) == [3, 4]
    assert seen().strip() == ""


def test_elsewhere_there_is_a_line_now_and_then(monkeypatch, capsys):
    now = iter([0.0, 20.0, 60.0, 70.0, 120.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    with Progress("headers", 400) as headers:
        for _ in range(4):
            headers.advance(50)
    assert capsys.readouterr().err.splitlines() == [
        "headers: 100 of 400, about 3 min left",
        "headers: 200 of 400, about 2 min left",
    ]


def test_one_of_several_processes_shows_it(seen, monkeypatch):
    for name, value in {
        "WORLD_SIZE": "2",
        "RANK": "1",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert list(counted("headers", [3, 4])) == [3, 4]
    assert seen() == ""


def test_headers_decoding_and_contents_are_told(seen, utterances, tmp_path):
    index, paths = AudioIndex(tmp_path / "index"), [one.path for one in utterances]
    index.look_up(paths)
    index.look_up(paths, decode=True)
    index.hashes(paths)
    assert bars(seen()) == ["headers", "files decoded", "contents"]
    index.look_up(paths, decode=True)  # known
    assert seen() == ""


def test_the_feature_cache_is_told(seen, utterances, tmp_path):
    def compute(wavs):
        return [np.zeros((1, 2), np.float32) for _ in wavs]

    config = UpstreamConfig(cache_dir=str(tmp_path / "cache"))
    CachedReader(compute, about={}, config=config).fill(utterances)
    assert "features" in bars(seen())


def test_the_doctor_s_levels_and_a_split_s_files_are_told(seen, utterances):
    sound._check_levels("emotion corpus", utterances)
    split = Split(tuple(utterances[:3]), tuple(utterances[3:4]), tuple(utterances[4:]))
    count_shared("fold1", split, near=True)
    assert bars(seen()) == ["levels", "contents", "files decoded"]


def test_a_report_is_told_to_its_end(seen, done, tmp_path):
    make_bench(tmp_path, methods=(("none", 0.0),), num_folds=1, probes=False, features=False)
    report.build(tmp_path)
    assert bars(seen()) == ["results", "report"]
    assert done == {"results": (1, 1), "report": (8, 8)}


def test_an_export_is_told_to_its_end(seen, done, tmp_path, tiny_hubert):
    export.export(make_trained(tmp_path / "run", tiny_hubert))
    assert "export" in bars(seen())
    assert done["export"] == (5, 5)


def test_predictions_are_told_in_seconds_of_sound(seen, utterances, tmp_path, tiny_hubert):
    expdir = make_trained(tmp_path / "run", tiny_hubert)
    out = str(tmp_path / "out.csv")
    assert main(["predict", str(expdir), *[str(one.path) for one in utterances], "--out", out]) == 0
    assert "seconds" in bars(seen())


def test_parts_of_a_table_have_a_bar_or_lines(seen, monkeypatch):
    with bar("parts", lines=True) as show:
        for done in (2, 3, 5):
            show(done, 5)
    assert bars(seen()) == ["parts"]
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: False)
    with bar("parts", lines=True) as show:
        show(4, 5)
    assert seen() == "4 of 5 parts\n"


@pytest.mark.slow
def test_the_bar_of_a_report_is_seen_in_a_terminal(tmp_path):
    make_bench(tmp_path, probes=False)
    status, seen = seen_in_a_terminal([sys.executable, "-m", "spknorm", "report", str(tmp_path)])
    assert status == 0
    assert "report" in bars(seen)


def test_work_of_which_nothing_is_done_yet_has_no_time_left(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    with Progress("blocks", 3) as work:
        work.advance(0)
        assert capsys.readouterr().err == ""
        work.advance()
    assert capsys.readouterr().err.startswith("blocks: 1 of 3, about ")
