"""Paths that strangers wrote down: they may not leave the folder of the corpus."""

import os
from pathlib import Path


class PathGuard:
    """Turns the text of a manifest into an absolute path inside the corpus, or says why not.

    A `..`, an absolute path or a symbolic link is fine as long as it ends inside the root.
    """

    def __init__(self, root: Path, *, allow_outside: bool = False) -> None:
        """Take the folder that paths are relative to; `allow_outside` lets them leave it."""
        self._root = Path(os.path.abspath(root))  # noqa: PTH100 (links are kept as they are)
        self._real_root = os.path.realpath(root)
        self._allow_outside = allow_outside
        self._real_folders: dict[str, str] = {}

    def __call__(self, text: str) -> Path:
        """Return the absolute path that `text` names; whether it exists is not looked at.

        Raises:
            ValueError: The text is no path, or leads out of the root; the message says which.
        """
        if not text or "\0" in text:
            raise ValueError("the path is empty or holds a NUL character")
        try:
            os.fsencode(text)
        except UnicodeEncodeError as error:
            raise ValueError(f"the path {text!r} cannot be a file name") from error
        path = self._root / text
        if not self._allow_outside and not self._is_inside(path):
            raise ValueError(
                f"the path {text!r} leads out of the root {self._root} "
                "(set `allow_outside: true` if that is meant)"
            )
        return path

    def _is_inside(self, path: Path) -> bool:
        folder, name = os.path.split(path)
        real_folder = self._real_folders.get(folder)
        if real_folder is None:
            real_folder = self._real_folders[folder] = os.path.realpath(folder)
        real = f"{real_folder}/{name}"
        if name == ".." or os.path.islink(real):  # noqa: PTH114 (50 000 times)
            real = os.path.realpath(real)
        return real.startswith(self._real_root.rstrip("/") + "/")
