"""The page of a recording: what is in it, and what a browser makes of it."""

import base64
import io
import json
import re
import time

import numpy as np
import pytest
import soundfile
from trained_folders import make_trained

from spknorm.cli import main
from spknorm.errors import ConfigError
from spknorm.predict import Prediction
from spknorm.predict.page import _encoded, clock, write_page

CLASSES = ("neu", "hap", "ang", "sad")
HOSTILE = "</script><img src=x onerror=window.hit=1>\"'"


def rows_of(path, seconds, *, hop=1.0, speakers=("ann", "ben"), classes=CLASSES):
    random = np.random.default_rng(0)
    starts = np.arange(0, seconds, hop)
    for number, start in enumerate(starts):
        shares = random.dirichlet(np.ones(len(classes)))
        yield Prediction(
            path,
            float(start),
            float(min(start + hop, seconds)),
            classes[int(shares.argmax())],
            dict(zip(classes, shares.tolist(), strict=True)),
            speakers[number % len(speakers)] if speakers else None,
        )


@pytest.fixture
def talk(tmp_path, tone):
    path = tmp_path / "talk.wav"
    soundfile.write(path, tone(6.0), 16000)
    return path


def data_of(page):
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    return json.loads(block[1])


def test_the_page_holds_the_windows_and_the_sound(talk, tmp_path):
    rows = list(rows_of(talk, 6.0))
    write_page(rows, tmp_path / "talk.html", model="mine")
    page = (tmp_path / "talk.html").read_text()
    data = data_of(page)
    assert data["classes"] == list(CLASSES)
    assert [window[:2] for window in data["windows"]] == [[row.start, row.end] for row in rows]
    for window, row in zip(data["windows"], rows, strict=True):
        assert window[2:] == pytest.approx(list(row.probabilities.values()), abs=1e-4)
    sound = base64.b64decode(re.search(r"base64,([A-Za-z0-9+/=]+)\"></audio>", page)[1])
    heard, rate = soundfile.read(io.BytesIO(sound))
    assert len(heard) / rate == pytest.approx(6.0, abs=0.05)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_a_recording_of_another_suffix_or_several_are_refused_before_anything_is_predicted(
    talk, tmp_path, capsys
):
    with pytest.raises(ConfigError, match=r"`--page` must end in \.html, but is `a\.pdf`"):
        write_page(list(rows_of(talk, 2.0)), tmp_path / "a.pdf", model="mine")
    other = tmp_path / "other.wav"
    other.write_bytes(talk.read_bytes())
    rows = [*rows_of(talk, 2.0), *rows_of(other, 2.0)]
    with pytest.raises(ConfigError, match=r"one recording, but there are 2\. Name one file\."):
        write_page(rows, tmp_path / "a.html", model="mine")
    assert not (tmp_path / "a.html").exists()


def test_a_recording_too_long_for_the_page_is_asked_for(talk, tmp_path, monkeypatch):
    monkeypatch.setattr("spknorm.predict.page.PAGE_BYTES", 1000)
    write_page(list(rows_of(talk, 6.0)), tmp_path / "talk.html", model="mine")
    page = (tmp_path / "talk.html").read_text()
    assert "choose its file" in page
    assert "data:audio" not in page


@pytest.mark.parametrize("hop", [1.0, 0.25])
def test_an_hour_of_windows_leaves_the_sound_its_room(tmp_path, monkeypatch, hop):
    path = tmp_path / "hour.flac"
    soundfile.write(path, np.zeros(16000, dtype=np.float32), 16000)
    monkeypatch.setattr("spknorm.predict.page._encoded", lambda samples, room: None)
    rows = list(rows_of(path, 3600.0, hop=hop))
    write_page(rows, tmp_path / "hour.html", model="mine")
    size = (tmp_path / "hour.html").stat().st_size
    assert size < 20_000 + 80 * len(rows)


@pytest.mark.parametrize("room", [20_000, 40_000, 200_000])
def test_the_sound_keeps_to_its_room(room):
    noise = np.random.default_rng(0).normal(0, 0.1, 30 * 16000).astype(np.float32)
    sound = _encoded(noise, room)
    if room == 20_000:
        assert sound is None, "under 6 kbit/s"
    else:
        assert sound is not None and 0.5 * min(room, 160_000) < len(sound) * 4 / 3 < room


def test_names_and_speakers_stay_text(talk, tmp_path):
    rows = rows_of(talk, 3.0, speakers=(HOSTILE,), classes=(HOSTILE, "sad"))
    write_page(list(rows), tmp_path / "talk.html", model=HOSTILE)
    page = (tmp_path / "talk.html").read_text()
    assert "<img" not in page
    assert data_of(page)["speakers"] == [HOSTILE] * 3


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.5, "0:07.5"), (59.96, "1:00"), (3600, "60:00")]
)
def test_times_are_minutes_and_seconds(seconds, text):
    assert clock(seconds) == text


def test_the_command_makes_a_page(talk, tmp_path, tiny_hubert, capsys):
    expdir = make_trained(tmp_path / "run", tiny_hubert)
    page = tmp_path / "talk.html"
    options = ["--window", "2", "--page", str(page)]
    assert main(["predict", str(expdir), str(talk), *options]) == 0
    assert capsys.readouterr().out == f"{page}: 3 windows\n"
    assert len(data_of(page.read_text())["windows"]) == 3


def click(chromium, selector):
    """Press the mouse in the middle of an element."""
    chromium.ask(f"document.querySelector('{selector}').scrollIntoView({{block: 'center'}})")
    box = chromium.ask(
        f"(b => [b.left + b.width / 2, b.top + b.height / 2])"
        f"(document.querySelector('{selector}').getBoundingClientRect())"
    )
    for kind in ("mousePressed", "mouseReleased"):
        chromium.call(
            "Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1
        )


def wait_until(chromium, expression, seconds=30):
    end = time.monotonic() + seconds
    while not chromium.ask(expression):
        assert time.monotonic() < end, expression
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_click_plays_from_there_and_the_timeline_moves_with_it(
    chromium, talk, tmp_path, width, scheme
):
    write_page(list(rows_of(talk, 6.0)), tmp_path / "talk.html", model="mine")
    chromium.open(tmp_path / "talk.html", width=width, scheme=scheme)
    assert chromium.complaints() == []
    assert {url.partition(":")[0] for url in chromium.requests()} <= {"file", "data"}
    assert chromium.ask("document.documentElement.scrollWidth") <= width
    player = "document.getElementById('player')"
    wait_until(chromium, f"{player}.readyState >= 2")
    click(chromium, 'tr[data-place="2"] button')
    wait_until(chromium, f"!{player}.paused && {player}.currentTime > 2.2")
    head = "Number(document.querySelector('#bands .head').getAttribute('x1'))"
    wait_until(chromium, f"{head} > 1000 * 2.1 / 6")
    assert chromium.ask("document.querySelector('tr[aria-current]').dataset.place") >= "2"
    chromium.ask(f"{player}.pause()")
    click(chromium, "#timeline")
    wait_until(chromium, f"Math.abs({player}.currentTime - 3) < .05")
    assert chromium.ask("document.getElementById('now').textContent").startswith("0:0")
    assert chromium.complaints() == []


@pytest.mark.slow
def test_windows_sort_by_an_emotion_and_keys_move_along_the_timeline(chromium, talk, tmp_path):
    rows = list(rows_of(talk, 6.0))
    write_page(rows, tmp_path / "talk.html", model="mine")
    chromium.open(tmp_path / "talk.html", width=1280)
    wait_until(chromium, "document.getElementById('player').readyState >= 1")
    click(chromium, "#windows thead th:nth-child(6) button")  # hap
    places = "[...document.querySelectorAll('#windows tbody tr')].map(r => +r.dataset.place)"
    by_share = sorted(range(6), key=lambda place: -rows[place].probabilities["hap"])
    assert chromium.ask(places) == by_share
    assert chromium.ask("document.querySelector('[aria-sort]').textContent") == "hap"
    click(chromium, "#windows thead th:nth-child(6) button")
    assert chromium.ask(places) == by_share[::-1]
    chromium.ask("document.getElementById('timeline').focus()")
    for _ in range(2):
        chromium.call("Input.dispatchKeyEvent", type="rawKeyDown", key="ArrowRight")
    wait_until(chromium, "document.getElementById('player').currentTime === 2")
    text = chromium.ask("document.getElementById('timeline').getAttribute('aria-valuetext')")
    assert text.startswith("0:02: ann, ")


@pytest.mark.slow
def test_a_screen_reader_hears_what_everything_is(chromium, talk, tmp_path):
    write_page(list(rows_of(talk, 6.0)), tmp_path / "talk.html", model="mine")
    chromium.open(tmp_path / "talk.html", width=1280)
    chromium.call("Accessibility.enable")
    named = {}
    for node in chromium.call("Accessibility.getFullAXTree")["nodes"]:
        if not node.get("ignored"):
            named.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value"))
    assert "Position in the recording" in named["slider"]
    assert "Play from 0:02" in named["button"]
    assert named["table"] == ["Windows"]
    assert "sad" in named["columnheader"]


@pytest.mark.slow
def test_an_hour_makes_a_page_under_5_megabytes_that_opens_in_2_seconds(chromium, tmp_path, tone):
    path = tmp_path / "hour.flac"
    minute = tone(60.0)
    with soundfile.SoundFile(path, "w", 16000, 1) as file:
        for _ in range(60):
            file.write(minute)
    write_page(list(rows_of(path, 3600.0)), tmp_path / "hour.html", model="mine")
    assert (tmp_path / "hour.html").stat().st_size < 5_000_000
    chromium.open(tmp_path / "hour.html", width=1280)
    assert 0 < chromium.spent() < 2  # a load of the machine's is not the page's
    assert chromium.ask("document.querySelectorAll('#windows tbody tr').length") == 3600
    wait_until(chromium, "Math.abs(document.getElementById('player').duration - 3600) < 1")
