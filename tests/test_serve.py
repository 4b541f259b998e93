"""`spknorm serve`: a page to record on, answered by the page of the recording; to this machine."""

import http.client
import signal
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import browser
import pytest
import soundfile
from test_predict_page import click, data_of, rows_of, wait_until
from trained_folders import make_trained

from spknorm.cli import main
from spknorm.errors import ConfigError, DataError
from spknorm.predict.serve import MOST_BYTES, Server, is_loopback


class Stub:
    """Predicts a window a second, of whatever it hears."""

    dimensions = ()

    def __init__(self):
        self.heard = []

    def predict_file(self, path, *, window_seconds, hop_seconds):
        self.heard.append((path.name, path.read_bytes()[:4]))
        if path.stem == "silence":
            raise DataError("There is nothing to hear.")
        yield from rows_of(path, soundfile.info(path).duration, hop=hop_seconds)


@pytest.fixture
def server():
    """A server at work, with the recordings that it heard."""
    with Server(Stub(), model="mine", window_seconds=1.0, hop_seconds=1.0) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


@pytest.fixture
def talk(tmp_path, tone):
    path = tmp_path / "talk.wav"
    soundfile.write(path, tone(3.0), 16000)
    return path


def ask(server, method, path, body=None, **headers):
    """Return status, text and headers of one request."""
    address = urlsplit(server.address)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers
    finally:
        connection.close()


def test_a_recording_that_is_posted_becomes_the_page_of_its_windows(server, talk):
    status, start, headers = ask(server, "GET", "/")
    assert status == 200
    assert "Record from the microphone" in start
    assert "http://" not in start
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    status, path, _ = ask(server, "POST", "/predict?name=talk.wav", talk.read_bytes())
    assert status == 200
    status, page, _ = ask(server, "GET", path)
    assert status == 200
    assert "<title>Emotions in talk.wav</title>" in page
    assert [window[:2] for window in data_of(page)["windows"]] == [[0, 1], [1, 2], [2, 3]]


def test_of_many_pages_the_last_are_kept(server, talk):
    paths = [ask(server, "POST", "/predict?name=a.wav", talk.read_bytes())[1] for _ in range(10)]
    assert [ask(server, "GET", path)[0] for path in paths] == [404] * 2 + [200] * 8
    assert ask(server, "GET", paths[0])[1] == (
        "This page is forgotten: send the recording again.\n"
    )


def test_what_cannot_be_predicted_is_one_line(server, talk):
    status, text, _ = ask(server, "POST", "/predict?name=silence.wav", talk.read_bytes())
    assert (status, text) == (422, "There is nothing to hear.\n")
    status, text, _ = ask(server, "POST", "/predict?name=a.exe", b"MZ")
    assert status == 422
    assert text.startswith("`a.exe` is no sound file by its name: .")
    status, text, _ = ask(server, "POST", "/predict?name=a.wav", Content_Length=str(MOST_BYTES + 1))
    assert (status, text) == (413, "A recording may have 512 MB, but this one is larger.\n")
    assert ask(server, "GET", "/etc/passwd")[0] == 404
    assert ask(server, "POST", "/elsewhere", b"")[0] == 404


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/cron.d/a.wav", "a.wav"),
        ("C:%5Ctalks%5Cmy%20talk.WAV", "my talk.wav"),
        (".wav.wav", "wav.wav"),
        ("a%00b%0A.wav", "ab.wav"),
        ("x" * 300 + ".wav", "x" * 80 + ".wav"),
    ],
)
def test_a_name_leads_nowhere_else(server, talk, sent, kept):
    assert ask(server, "POST", f"/predict?name={sent}", talk.read_bytes())[0] == 200
    assert server._predictor.heard == [(kept, b"RIFF")]


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}],
)
def test_the_page_of_another_site_is_refused(server, talk, headers):
    for method, path in (("GET", "/"), ("POST", "/predict?name=talk.wav")):
        status, text, _ = ask(server, method, path, talk.read_bytes(), **headers)
        assert (status, text) == (403, "This server answers its own page alone.\n")
    assert server._predictor.heard == []


def test_other_machines_need_to_be_allowed():
    with pytest.raises(ConfigError) as caught:
        Server(Stub(), model="mine", host="0.0.0.0")
    assert str(caught.value) == (
        "`--host 0.0.0.0` can be reached from other machines, and who reaches it can send "
        "recordings: add --allow-others if that is meant."
    )
    Server(Stub(), model="mine", host="0.0.0.0", allow_others=True).server_close()
    assert [is_loopback(one) for one in ("localhost", "127.0.0.9", "::1", "", "10.0.0.1")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_a_port_that_is_taken_is_one_line(server, tmp_path, tiny_hubert, capsys):
    expdir = make_trained(tmp_path / "run", tiny_hubert)
    port = str(urlsplit(server.address).port)
    assert main(["serve", str(expdir), "--port", port]) == ConfigError.exit_code
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"spknorm: `--host 127.0.0.1 --port {port}` cannot be listened on: ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--port", "99999"], "`--host 127.0.0.1 --port 99999` cannot be listened on: "),
        (["--port", "-1"], "`--host 127.0.0.1 --port -1` cannot be listened on: "),
        (["--host", "0.0.0.0"], "`--host 0.0.0.0` can be reached from other machines, "),
    ],
)
def test_an_address_is_looked_at_before_a_model_is_loaded(options, said, monkeypatch, capsys):
    monkeypatch.setattr("spknorm.predict.load", lambda *_, **__: pytest.fail("a model was loaded"))
    assert main(["serve", "anything", *options]) == ConfigError.exit_code
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"spknorm: {said}")
    assert ".." not in told


@pytest.mark.slow
def test_the_command_serves_a_trained_experiment_until_it_is_stopped(talk, tmp_path, tiny_hubert):
    expdir = make_trained(tmp_path / "run", tiny_hubert)
    command = [
        sys.executable,
        "-m",
        "spknorm",
        "serve",
        str(expdir),
        "--port",
        "0",
        "--window",
        "2",
    ]
    root = Path(__file__).parents[1]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's & ignores it
    ) as process:
        try:
            address = urlsplit(process.stdout.readline().split()[0])
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=120)
            connection.request("POST", "/predict?name=talk.wav", talk.read_bytes())
            path = connection.getresponse().read().decode()
            connection.request("GET", path)
            page = connection.getresponse().read().decode()
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    assert [window[:2] for window in data_of(page)["windows"]] == [[0, 2], [1, 3]]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A browser whose microphone hears a beep a second, and that asks nobody about it."""
    if browser.find() is None:
        pytest.fail(browser.MISSING)
    microphone = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    opened = browser.Browser(tmp_path_factory.mktemp("profile"), more=microphone)
    yield opened
    opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_a_click_records_from_the_microphone_and_shows_the_page(chromium, server, width):
    chromium.open(server.address, width=width)
    assert chromium.complaints() == []
    assert chromium.ask("document.documentElement.scrollWidth") <= width
    click(chromium, "#record")
    wait_until(
        chromium, "/^Recording: [2-9] s/.test(document.getElementById('status').textContent)"
    )
    assert chromium.ask("document.getElementById('record').textContent") == "Stop, and predict"
    click(chromium, "#record")
    wait_until(chromium, "document.title === 'Emotions in recording.wav'")
    wait_until(chromium, "document.getElementById('player').readyState >= 1")
    assert server._predictor.heard == [("recording.wav", b"RIFF")]
    assert (
        len(chromium.ask("[...document.querySelectorAll('#windows tbody tr')].map(() => 1)")) >= 2
    )
    assert {urlsplit(url).netloc for url in chromium.requests() if url.startswith("http")} == {
        urlsplit(server.address).netloc
    }
    assert chromium.complaints() == []
