"""A page of this machine to record or upload speech on, which answers with the page of `page.py`.

Last in the room; Python's own server and nothing else. What is sent is predicted and forgotten: the
file at once, its page when newer ones take its place.
"""

import contextlib
import ipaddress
import logging
import secrets
import socket
import tempfile
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urlsplit

from spknorm.audio import printable
from spknorm.audio.walking import SUFFIXES
from spknorm.errors import USER_ERRORS, ConfigError
from spknorm.predict import Predictor
from spknorm.predict.page import check_shown, fill, write_page

logger = logging.getLogger(__name__)

MOST_BYTES = 1 << 29
"""Of a recording that is sent."""
_MOST_PAGES = 8
_RESULT = "/result/"
_COMMON = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Server(ThreadingHTTPServer):
    """Listens until `shutdown`; `address` says where, and `pages` has what was made, by path.

    `model` is what the predictor is, as readers know it; port 0 takes a free one; windows are as in
    `Predictor.predict_file`. `allow_others`: listen where other machines can reach it.

    Raises:
        ConfigError: Others could reach it and `allow_others` is not set, it cannot listen there, or
            the predictor predicts dimensions.
    """

    daemon_threads = True

    def __init__(
        self,
        predictor: Predictor,
        *,
        model: str,
        host: str = "127.0.0.1",
        port: int = 0,
        window_seconds: float | None = None,
        hop_seconds: float | None = None,
        allow_others: bool = False,
    ) -> None:
        check_address(host, port, allow_others=allow_others)
        check_shown(predictor.dimensions)
        self._predictor, self._model = predictor, model
        self._window, self._hop = window_seconds, hop_seconds
        self.pages: dict[str, bytes] = {}
        self._lock = threading.Lock()  # one recording at a time: a model is not shared
        self.allow_others = allow_others
        self.start_page, self.policy = _start_page(model)
        with _told(host, port):
            super().__init__((host, port), _Handler)

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}/"

    def predict(self, sound: bytes, name: str) -> str:
        """Return the path of the page of a recording.

        Raises:
            AudioError, ConfigError, NonFiniteError: It cannot be predicted.
        """
        with self._lock, tempfile.TemporaryDirectory() as folder:
            recording = Path(folder) / _safe_name(name)
            recording.write_bytes(sound)
            rows = list(
                self._predictor.predict_file(
                    recording, window_seconds=self._window, hop_seconds=self._hop
                )
            )
            page = Path(folder) / "page.html"
            write_page(rows, page, model=self._model)
            path = _RESULT + secrets.token_urlsafe(16)
            self.pages[path] = page.read_bytes()
            while len(self.pages) > _MOST_PAGES:
                del self.pages[next(iter(self.pages))]
        return path


def check_address(host: str, port: int, *, allow_others: bool) -> None:
    """Check that there can be a server, for which no model need be loaded.

    Raises:
        ConfigError: Others could reach it and `allow_others` is not set, or it cannot listen there.
    """
    if not allow_others and not is_loopback(host):
        raise ConfigError(
            f"`--host {host}` can be reached from other machines, and who reaches it can send "
            "recordings: add --allow-others if that is meant."
        )
    with _told(host, port):
        socket.create_server((host, port)).close()


@contextlib.contextmanager
def _told(host: str, port: int) -> Iterator[None]:
    try:
        yield
    except (OSError, OverflowError) as error:
        why = str(error).rstrip(".")
        raise ConfigError(
            f"`--host {host} --port {port}` cannot be listened on: {why}. Choose another."
        ) from error


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "spknorm", ""
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if not self._is_meant():
            return
        if path == "/":
            policy = {"Content-Security-Policy": self.server.policy}
            self._answer(HTTPStatus.OK, self.server.start_page, "text/html", policy)
        elif (page := self.server.pages.get(path)) is not None:
            self._answer(HTTPStatus.OK, page, "text/html")
        elif path.startswith(_RESULT):
            self._refuse(HTTPStatus.NOT_FOUND, "This page is forgotten: send the recording again.")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def do_POST(self) -> None:
        self.close_connection = True  # what is not read of a refused body is not the next request
        address = urlsplit(self.path)
        if not self._is_meant():
            return
        if address.path != "/predict":
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here.")
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "The length of the recording is not told.")
        elif int(length) > MOST_BYTES:
            most = f"A recording may have {MOST_BYTES >> 20} MB, but this one is larger."
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, most)
        else:
            name = parse_qs(address.query).get("name", ["recording.wav"])[0]
            try:
                page = self.server.predict(self.rfile.read(int(length)), name)
            except USER_ERRORS as error:
                self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
            else:
                self._answer(HTTPStatus.OK, page.encode(), "text/plain")

    def _is_meant(self) -> bool:
        """Refuse what another site's page asks for in somebody's browser."""
        host = self.headers.get("Host", "")
        own = urlsplit(f"//{host}").hostname or ""
        origin = self.headers.get("Origin")
        is_own = self.server.allow_others or is_loopback(own)
        if is_own and origin in (None, f"http://{host}"):
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "This server answers its own page alone.")
        return False

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        self._answer(status, f"{text}\n".encode(), "text/plain")

    def _answer(
        self, status: HTTPStatus, body: bytes, kind: str, more: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**_COMMON, **(more or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        logger.debug(format, *args)


def _start_page(model: str) -> tuple[bytes, str]:
    """Return the page to record on, and what the browser may do there."""
    about = {"suffixes": ",".join(sorted(SUFFIXES)), "most_megabytes": MOST_BYTES >> 20}
    page, digest = fill("record", model=printable(model), **about)
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src blob:; "
        f"connect-src 'self'; script-src 'sha256-{digest}'"
    )
    return page.encode(), policy


def _safe_name(name: str) -> str:
    """Return the last part of a name that a browser sent, as a name of a file here."""
    last = PurePosixPath(name.replace("\\", "/")).name
    suffix = PurePosixPath(last).suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(
            f"`{printable(last)}` is no sound file by its name: {', '.join(sorted(SUFFIXES))}."
        )
    stem = "".join(one for one in PurePosixPath(last).stem if one.isprintable() and one != "/")
    return (stem[:80].strip(". ") or "recording") + suffix
