"""The inputs that commands of the page name, made in the work folder when they are needed."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from typed import experiments, lists, settings, sounds

ROOT = Path(__file__).resolve().parents[2]
MAKERS: dict[str, Callable[["Inputs"], None]] = {
    **sounds.MAKERS,
    **settings.MAKERS,
    **lists.MAKERS,
    **experiments.MAKERS,
}


class Inputs:
    """A work folder; `make_for(command)` makes what a command names, and what that needs."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._environment = environment
        for name in ("", "tmp", "cache", "runs", "result", "result/report", "result/export"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name).chmod(0o777)  # another user types there, too
        (folder / "result/evaluate").mkdir(exist_ok=True)
        (folder / "result/evaluate").chmod(0o777)
        link = folder / "run_downstream.py"
        if not link.is_symlink():
            link.symlink_to(ROOT / "run_downstream.py")
        sys.path.insert(0, str(ROOT / "tests"))  # its makers of tiny upstreams

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def make_for(self, command: str) -> str | None:
        """Make the inputs that `command` names; return why where one cannot be made."""
        words = re.findall(r"[\w.-]+", command)
        try:
            self.need("corpora", *(word for word in words if word in MAKERS))
        except (OSError, RuntimeError) as error:
            return str(error)
        return None

    def need(self, *names: str) -> None:
        """Make the inputs of these names that are not there."""
        for name in names:
            mark = self.folder / "made" / name
            if not mark.exists():
                print(f"making {name}", file=sys.stderr, flush=True)
                MAKERS[name](self)
                mark.parent.mkdir(exist_ok=True)
                mark.touch()

    def run(self, command: str) -> None:
        """Run a command of bash in the folder; RuntimeError with its last words where it fails."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode:
            said = done.stdout.decode("utf-8", "backslashreplace")[-800:].strip()
            raise RuntimeError(f"`{command}` ended with {done.returncode}: {said}")

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file of the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def close(self) -> None:
        """Take the small file systems away, if any was mounted."""
        for name in ("small", "full"):
            if (self.folder / name).is_mount():
                subprocess.run(["umount", "-l", str(self.folder / name)], check=False)
            (self.folder / "made" / name).unlink(missing_ok=True)
