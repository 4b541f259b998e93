"""Loops for tests of the relay, which imports them in processes of their own: without torch."""

import contextlib
import os
import time


def note_steps(path, name, pause, tick):
    """A loop that writes its name into a file at each step."""
    while True:
        tick()
        with path.open("a") as stream:
            stream.write(f"{name} ")
        time.sleep(pause)


def break_down(tick):
    tick()
    raise KeyError("broken")


def end_early(tick):
    tick()


def die(tick):
    tick()
    os._exit(7)


@contextlib.contextmanager
def watching():
    found = []
    yield found
    found.append("left")
