import http.server
import json
import threading
from typing import ClassVar

import pytest

from spknorm.errors import ConfigError, MissingError
from spknorm.export import export, push


class _Hub(http.server.BaseHTTPRequestHandler):
    """Answers what huggingface_hub asks when a small folder is uploaded; notes every request."""

    requests: ClassVar[list[tuple[str, bytes]]] = []
    refuse = False

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.requests.append((self.path, body))
        if self.refuse:
            self._answer(401, {"error": "Invalid username or password."})
        elif self.path == "/api/repos/create":
            self._answer(
                200, {"url": "https://huggingface.co/someone/model", "name": "someone/model"}
            )
        elif self.path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [
                {"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names
            ]
            self._answer(200, {"files": modes})
        elif "/commit/" in self.path:
            commit = {
                "commitUrl": "https://huggingface.co/someone/model/commit/1",
                "commitOid": "1",
            }
            self._answer(200, {**commit, "success": True})
        else:
            self._answer(200, {"errors": [], "warnings": []})

    def do_GET(self):
        self.requests.append((self.path, b""))
        status = 401 if self.refuse else 200
        self._answer(status, {"id": "someone/model", "sha": "0", "siblings": []})

    def _answer(self, status, value):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr(_Hub, "requests", [])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_folder_is_pushed_as_one_commit(tap, hub):
    folder = export(tap).folder
    assert (
        push(folder, "someone/model", endpoint=hub)
        == "https://huggingface.co/someone/model/commit/1"
    )
    created = json.loads(_Hub.requests[0][1])
    assert (_Hub.requests[0][0], created["name"]) == ("/api/repos/create", "model")
    commits = [body for path, body in _Hub.requests if "/commit/" in path]
    assert len(commits) == 1
    lines = [json.loads(line) for line in commits[0].splitlines()]
    uploaded = {line["value"]["path"] for line in lines if line["key"] == "file"}
    assert uploaded == {path.name for path in folder.iterdir()}


def test_a_refused_push_is_told_in_one_line(tap, hub, monkeypatch):
    monkeypatch.setattr(_Hub, "refuse", True)
    with pytest.raises(ConfigError, match=r"^The hub did not take someone/model: .*401"):
        push(export(tap).folder, "someone/model", endpoint=hub)


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path):
    (tmp_path / "README.md").write_text("")
    with pytest.raises(MissingError) as caught:
        push(tmp_path, "someone/model", endpoint="http://127.0.0.1:9")  # where nobody listens
    assert str(caught.value).startswith("The hub cannot be reached (")
    assert str(caught.value).endswith(
        f"). {tmp_path} is written: give the same command again where there is a network."
    )


def test_only_an_export_is_pushed(tmp_path):
    with pytest.raises(MissingError) as caught:
        push(tmp_path, "someone/model")
    assert str(caught.value) == (
        f"{tmp_path} has no README.md; push a folder that `spknorm export` wrote."
    )
