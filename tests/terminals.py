"""A terminal for a command to be seen in."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from pathlib import Path


def seen_in_a_terminal(command):
    """Run a command whose standard error is a pseudo-terminal; return status and what it wrote."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[1],
        stderr=follower,
        stdout=subprocess.DEVNULL,
    )
    os.close(follower)
    seen = b""
    while True:
        try:
            seen += os.read(leader, 4096)
        except OSError:  # the terminal is closed at the end
            break
    os.close(leader)
    return process.wait(), seen.decode(errors="replace")
