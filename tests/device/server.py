"""Does tasks on the device, each in a process of its own that has everything imported already.

Started by pretended.Server. A line on the standard input names a task, its arguments, variables of
the environment and two files for what it prints; its exit status is answered by a line. Nothing of
CUDA has begun when a process is forked, so that each has the cards its environment names.
"""

import gc
import json
import os
import sys
from unittest import mock

import torch

with mock.patch("torch.cuda.is_available", lambda: False):  # s3prl asks, and so begins with CUDA
    import tasks
    import torch._dynamo  # which every optimiser imports, here once for all forks


def main() -> None:
    """Answer until the input ends."""
    gc.collect()
    gc.freeze()  # no fork copies what the collector would write to
    for line in sys.stdin:
        asked = json.loads(line)
        assert not torch.cuda.is_initialized()
        child = os.fork()
        if not child:
            os._exit(_status(asked))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _status(asked: dict[str, object]) -> int:
    """Do a task as a process of its own would; return its exit status."""
    for path, number in ((asked["out"], 1), (asked["err"], 2)):
        os.dup2(os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(asked["environment"])  # type: ignore[call-overload]
    try:
        tasks.do(str(asked["task"]), asked["arguments"])
        return 0
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    main()
