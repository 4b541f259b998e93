"""A part of a file: from a second to a second, and which of its channels. Beside faults.py."""

import os
from pathlib import Path
from typing import NamedTuple


class Excerpt(NamedTuple):
    """What is heard of a file.

    Attributes:
        path: The file.
        channel: `1`, `2`, ... or `centre`; None: the mean of all.
        start: Second at which it begins; None: at the file's beginning.
        end: Second at which it ends; None: at the file's end.
    """

    path: Path
    channel: str | None = None
    start: float | None = None
    end: float | None = None

    @property
    def key(self) -> str:
        """A text that no other excerpt has; of a whole file its path."""
        path = os.fspath(self.path)
        rest = (self.channel, self.start, self.end)
        return path if rest == (None, None, None) else f"{path}\n{rest}"

    @property
    def suffix(self) -> str:
        """What tells it from its whole file, for hashes; empty if nothing does."""
        return self.key[len(os.fspath(self.path)) :]


Sound = Path | str | Excerpt
"""What can be decoded: a file, or an excerpt of one."""


def excerpt_of(sound: Sound) -> Excerpt:
    """Return a sound as an excerpt."""
    return sound if isinstance(sound, Excerpt) else Excerpt(Path(sound))


def check_channel(channel: str) -> str:
    """Return a channel's name.

    Raises:
        ValueError: It is none of those that there are.
    """
    if channel == "centre" or (channel.isascii() and channel.isdigit() and int(channel) > 0):
        return channel
    raise ValueError(f"a channel is 1, 2, ... or centre, but is `{channel}`")
