"""Paths that strangers wrote down: they may not leave the folder of the corpus."""

import contextlib
import os
import unicodedata
from pathlib import Path


class PathGuard:
    """Turns the text of a manifest into an absolute path inside the corpus, or says why not.

    A `..`, an absolute path or a symbolic link is fine as long as it ends inside the root. Where no
    file has just that name, spaces around it are dropped, backslashes are read as `/`, and accented
    letters in either of Unicode's two spellings (NFC, NFD), if a file is found by that.
    """

    def __init__(self, root: Path, *, allow_outside: bool = False) -> None:
        """Take the folder that paths are relative to; `allow_outside` lets them leave it."""
        self._root = Path(os.path.abspath(root))  # noqa: PTH100 (links are kept as they are)
        self._real_root = os.path.realpath(root)
        self._allow_outside = allow_outside
        self._real_folders: dict[str, str] = {}
        self._spellings: dict[str, dict[str, str]] = {}

    def __call__(self, text: str) -> Path:
        """Return the absolute path that `text` names, whether it exists or not.

        Raises:
            ValueError: The text is no path, leads out of the root, or has backslashes and names
                nothing; the message says which.
        """
        if not text or "\0" in text:
            raise ValueError("the path is empty or holds a NUL character")
        try:
            os.fsencode(text)
        except UnicodeEncodeError as error:
            raise ValueError(f"the path {text!r} cannot be a file name") from error
        path = self._root / text
        if text != text.strip() and not os.path.exists(path):  # noqa: PTH110
            text = text.strip()
            path = self._root / text
        if ("\\" in text or not text.isascii()) and not os.path.exists(path):  # noqa: PTH110
            path = self._spelt_otherwise(text)
        if not self._allow_outside and not self._is_inside(path):
            raise ValueError(
                f"the path {text!r} leads out of the root {self._root} "
                "(set `allow_outside: true` if that is meant)"
            )
        return path

    def _spelt_otherwise(self, text: str) -> Path:
        path = self._root / text.replace("\\", "/")
        found = path.anchor
        for part in path.parts[1:]:
            found = os.path.join(found, self._names_in(found).get(_composed(part), part))  # noqa: PTH118
        if os.path.exists(found):  # noqa: PTH110
            return Path(found)
        if "\\" in text:
            raise ValueError(
                f"the path {text!r} has backslashes, and with / instead names no file of the corpus"
            )
        return self._root / text

    def _names_in(self, folder: str) -> dict[str, str]:
        """Return the entries of a folder by their composed spelling, those that are unambiguous."""
        if folder not in self._spellings:
            names: dict[str, str] = {}
            twice: set[str] = set()
            with contextlib.suppress(OSError):
                for name in os.listdir(folder):  # noqa: PTH208 (names are wanted)
                    twice.update({_composed(name)} & names.keys())
                    names[_composed(name)] = name
            self._spellings[folder] = {k: v for k, v in names.items() if k not in twice}
        return self._spellings[folder]

    def _is_inside(self, path: Path) -> bool:
        folder, name = os.path.split(path)
        if (real_folder := self._real_folders.get(folder)) is None:
            real_folder = self._real_folders[folder] = os.path.realpath(folder)
        real = f"{real_folder}/{name}"
        if name == ".." or os.path.islink(real):  # noqa: PTH114 (50 000 times)
            real = os.path.realpath(real)
        return real.startswith(self._real_root.rstrip("/") + "/")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
