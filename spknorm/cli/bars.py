"""How far a command is: a bar with the time left on stderr, if it is a terminal."""

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def bar(
    what: str, *, leave: bool = True, lines: bool = False
) -> Iterator[Callable[[int, int], None]]:
    """Yield what shows how much is done, and of how much.

    What was done before the first call, as by an earlier command, is no guide to the time left.
    `lines`: where there is no terminal, a line for each call.
    """
    from tqdm import tqdm

    with tqdm(desc=what, unit="", file=sys.stderr, disable=None, leave=leave) as shown:

        def show(done: int, total: int) -> None:
            if shown.disable:
                if lines:
                    print(f"{done} of {total} {what}", file=sys.stderr, flush=True)
            elif shown.total is None:
                shown.total, shown.initial, shown.n = total, done, done
                shown.refresh()
            else:
                shown.total = total
                shown.update(done - shown.n)

        yield show


def tell(text: str) -> None:
    """Print a line on stderr, above a bar if there is one."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)
