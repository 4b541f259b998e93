"""A headless Chromium on a pipe, by its DevTools protocol and the standard library alone."""

import json
import os
import select
import shutil
import subprocess
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
MISSING = (
    "There is no Chromium, so the report cannot be looked at. Install one (Debian: apt-get install "
    "chromium), or say SPKNORM_BROWSER_TESTS=0 to leave these tests out."
)


def find():
    """Return the path of a Chromium, None without one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page; `events` collects what it reports, `call` asks it something."""

    def __init__(self, profile, *, timeout=60, more=()):
        self._timeout, self._number, self.events, self._session = timeout, 0, [], None
        commands_out, self._commands = os.pipe()
        self._answers, answers_in = os.pipe()
        options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                   "--disable-background-networking", "--remote-debugging-pipe", *more)  # fmt: skip
        command = " ".join(("exec", f"'{find()}'", *options, f"--user-data-dir='{profile}'"))
        self._process = subprocess.Popen(
            ["bash", "-c", f"{command} 3<&{commands_out} 4>&{answers_in}"],
            pass_fds=(commands_out, answers_in),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands_out)
        os.close(answers_in)
        self._rest = b""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def call(self, method, **parameters):
        """Send a command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def open(self, path, *, width, scheme="light"):
        """Load a file or address in so many pixels' width; return when its images are there."""
        self.events.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media="", features=features)
        self.call("Performance.disable")
        self.call("Performance.enable", timeDomain="threadTicks")
        address = path if isinstance(path, str) else path.as_uri()
        loader = self.call("Page.navigate", url=address)["loaderId"]
        while not any(self._is_loaded(event, loader) for event in self.events):
            self.events.append(self._read())

    @staticmethod
    def _is_loaded(event, loader):
        """Whether the page of a navigation is loaded: one before it may be only now."""
        about = event.get("params", {})
        return event.get("method") == "Page.lifecycleEvent" and (
            (about["loaderId"], about["name"]) == (loader, "load")
        )

    def spent(self):
        """Return the processor's seconds of the page's main thread since `open` was called."""
        metrics = self.call("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in metrics if one["name"] == "ThreadTime")

    def ask(self, expression):
        """Evaluate JavaScript in the page and return its value."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key):
        """Press and release a key."""
        code = {"Tab": 9, "Enter": 13, " ": 32}.get(key, 0)
        typed = {"text": {"Enter": "\r", " ": " "}[key]} if key in ("Enter", " ") else {}
        for kind, more in (("keyDown" if typed else "rawKeyDown", typed), ("keyUp", {})):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more
            )

    def complaints(self):
        """Return what the console and the log said, and every error."""
        methods = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for event in self.events if event.get("method") in methods]

    def requests(self):
        """Return the addresses that were asked for."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def close(self):
        """End the browser."""
        os.close(self._commands)
        os.close(self._answers)
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self):
        end = time.monotonic() + self._timeout
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], end - time.monotonic())
            assert ready, "The browser does not answer."
            block = os.read(self._answers, 1 << 16)
            assert block, "The browser has ended."
            self._rest += block
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)
