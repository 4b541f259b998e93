"""The page of a recording in use: by keys alone, of odd recordings, with turns of any kind."""

import numpy as np
import pytest
import soundfile
from test_predict_page import data_of, rows_of, talk, wait_until  # noqa: F401 (a fixture)
from trained_folders import make_trained

from spknorm.cli import main
from spknorm.predict import Prediction
from spknorm.predict.page import write_page

HOSTILE = "</script><img src=x onerror=window.hit=1>'&#39;\u2028ÅŸ 話"
PLAYER = "document.getElementById('player')"
FOCUS = "(e => e.id || e.getAttribute('aria-label') || e.textContent)(document.activeElement)"


@pytest.fixture(scope="module")
def expdir(tmp_path_factory, tiny_hubert):
    return make_trained(tmp_path_factory.mktemp("trained") / "run", tiny_hubert)


def focus(chromium, name):
    """Press Tab until what is called so has the focus."""
    for _ in range(30):
        if chromium.ask(FOCUS) == name:
            return
        chromium.press("Tab")
    raise AssertionError(name)


@pytest.mark.slow
def test_keys_alone_sort_play_a_window_and_move_the_player(chromium, talk, tmp_path):
    rows = list(rows_of(talk, 6.0))
    write_page(rows, tmp_path / "talk.html", model="mine")
    chromium.open(tmp_path / "talk.html", width=1280)
    wait_until(chromium, f"{PLAYER}.readyState >= 2")
    focus(chromium, "timeline")
    for key, second in (
        *(("ArrowRight", 1), ("ArrowUp", 2), ("ArrowDown", 1), ("ArrowLeft", 0)),
        *(("End", 5), ("Home", 0), ("PageUp", 5.99), ("PageDown", 0)),
    ):
        chromium.press(key)
        wait_until(chromium, f"Math.abs({PLAYER}.currentTime - {second}) < 1e-3")
    for key in ("Enter", " "):
        chromium.press(key)
        wait_until(chromium, f"!{PLAYER}.paused")
        chromium.press(key)
        wait_until(chromium, f"{PLAYER}.paused")
    focus(chromium, "sad")
    chromium.press("Enter")
    wanted = sorted(range(6), key=lambda place: -rows[place].probabilities["sad"])
    places = "[...document.querySelectorAll('#windows tbody tr')].map(r => +r.dataset.place)"
    wait_until(chromium, f"{places}.join() === '{','.join(map(str, wanted))}'")
    focus(chromium, f"Play from 0:0{wanted[0]}")
    chromium.press("ArrowDown")
    chromium.press("ArrowDown")
    chromium.press("ArrowUp")
    assert chromium.ask(FOCUS) == f"Play from 0:0{wanted[1]}"
    chromium.press("Enter")
    wait_until(chromium, f"!{PLAYER}.paused && {PLAYER}.currentTime > {wanted[1]}")
    assert chromium.complaints() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "rate", "channels"),
    [(0.03, 16000, 1), (0.1, 8000, 1), (2.5, 11025, 2), (3.3, 44100, 2), (2.0, 96000, 6)],
)
def test_short_recordings_and_others_than_16_khz_mono_are_seen_and_heard(
    chromium, tmp_path, expdir, seconds, rate, channels
):
    path = tmp_path / "odd.wav"
    wave = 0.2 * np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * 200 / rate)
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate)
    page = tmp_path / "odd.html"
    assert main(["predict", str(expdir), str(path), "--page", str(page)]) == 0
    chromium.open(page, width=400)
    wait_until(chromium, f"{PLAYER}.readyState >= 1")
    assert abs(chromium.ask(f"{PLAYER}.duration") - seconds) < 0.03
    assert chromium.ask("document.documentElement.scrollWidth") <= 400
    assert chromium.ask("document.querySelectorAll('#windows tbody tr').length") == 1
    assert chromium.complaints() == []


def list_of(kind, name):
    """Return turns of one speaker: two that overlap, one behind the end, one across it."""
    turns = [(0.0, 4.0), (1.0, 2.0), (3.5, 60.0), (7.0, 9.0)]
    if kind == "csv":
        quoted = '"' + name.replace('"', '""') + '"'
        return "start,end,speaker\n" + "".join(f"{a},{b},{quoted}\n" for a, b in turns)
    if kind == "rttm":
        return "".join(
            f"SPEAKER talk 1 {a} {b - a} <NA> <NA> {''.join(name.split())} <NA> <NA>\n"
            for a, b in turns
        )
    intervals = "".join(f'{a}\n{b}\n"so ""it"" goes"\n' for a, b in turns)
    tier = '"IntervalTier"\n"{}"\n0\n60\n{}\n{}'
    text = name.replace('"', '""')
    tiers = tier.format(text, len(turns), intervals) + tier.format("nobody", 0, "")
    return f'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n60\n<exists>\n2\n{tiers}'


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "rttm", "TextGrid"])
def test_turns_that_overlap_or_end_late_are_shown_and_their_speakers_names_stay_text(
    chromium, talk, tmp_path, expdir, kind, caplog
):
    turns, page = tmp_path / f"turns.{kind}", tmp_path / "a'b\"<i>.html"
    turns.write_text(list_of(kind, HOSTILE), encoding="utf-8")
    named = talk.rename(tmp_path / ("talk.wav" if kind == "rttm" else "a'b\"<b>&amp;ł.wav"))
    options = ["--segments", str(turns), "--page", str(page)]
    assert main(["predict", str(expdir), str(named), *options]) == 0
    assert "1 of 4 segments are left out, behind its end" in caplog.text
    data = data_of(page.read_text(encoding="utf-8"))
    assert [window[:2] for window in data["windows"]] == [[0, 4], [1, 2], [3.5, 6]]
    chromium.open(page, width=1280)
    told = "".join(HOSTILE.split()) if kind == "rttm" else HOSTILE
    cells = "[...document.querySelectorAll('#windows tbody td:nth-child(3)')]"
    assert chromium.ask(f"{cells}.map(cell => cell.textContent)") == [told] * 3
    assert named.name in chromium.ask("document.querySelector('h1').textContent")
    assert chromium.ask("window.hit === undefined && document.images.length === 0")
    assert chromium.complaints() == []


@pytest.mark.slow
def test_where_windows_overlap_the_bands_show_what_is_told_of_that_moment(chromium, talk, tmp_path):
    spans = [(0.0, 4.0), (4.0, 6.0), (1.0, 2.0)]  # the last is another speaker's turn
    rows = [
        Prediction(talk, start, end, name, {n: float(n == name) for n in ("a", "b", "c")}, None)
        for (start, end), name in zip(spans, "abc", strict=True)
    ]
    write_page(rows, tmp_path / "talk.html", model="mine")
    chromium.open(tmp_path / "talk.html", width=1280)
    path = "document.querySelectorAll('#bands path')[{}].getAttribute('d')"
    drawn = [chromium.ask(path.format(place)).split("z") for place in range(3)]
    edges = [
        [float(d[1:].split()[0]) * 6 / 1000 for d in one if d and "v100" in d] for one in drawn
    ]
    assert [np.round(one, 1).tolist() for one in edges] == [[0, 2], [4], [1]]
    wait_until(chromium, f"{PLAYER}.readyState >= 1")
    for second, name in ((0.5, "a"), (1.5, "c"), (3, "a"), (5, "b")):
        chromium.ask(f"{PLAYER}.currentTime = {second}")
        now = "document.getElementById('now').textContent"
        wait_until(chromium, f"{now}.includes(': {name} 100 %')")


def test_of_a_recording_that_is_skipped_there_is_no_page(talk, expdir, caplog):
    talk.write_bytes(b"RIFF no sound")
    page = talk.with_suffix(".html")
    assert main(["predict", str(expdir), str(talk), "--skip-bad", "--page", str(page)]) == 3
    assert str(talk) in caplog.text
    assert not page.exists()
