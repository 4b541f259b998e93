"""What an experiment sets in its process and folder, as s3prl's own main does."""

import argparse
import logging
import os
import random
import re
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from spknorm.config.device import check_device, default_device
from spknorm.config.launcher import place, requeue_job, slurm_job
from spknorm.errors import ConfigError
from spknorm.files import write_atomic

logger = logging.getLogger(__name__)

_NOT_S3PRLS = ("frozen", "skip_bad")


def is_leader() -> bool:
    """Whether this process writes the files: the only one, or torchrun's first."""
    return place().rank == 0


@contextmanager
def leaving_in_order() -> Iterator[None]:
    """Until training takes signals over: end by SystemExit, and go back into Slurm's queue first.

    A run that is still importing, reading corpora or computing features has nothing to save but
    the features that it has so far, which the exit lets be written; a second signal ends it at
    once.
    """
    asked = False

    def leave(number: int, _: FrameType | None) -> None:
        nonlocal asked
        if asked and number == signal.SIGTERM and slurm_job() is not None:
            return  # Slurm repeats it
        if asked:
            os._exit(128 + number)
        asked = True
        if number == signal.SIGUSR1 and is_leader():
            with suppress(OSError, subprocess.SubprocessError):
                requeue_job()
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # Python allows no handlers there
        yield
        return
    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def prepare(args: argparse.Namespace) -> None:
    """Decide the device, set the download folder, and leave in `args` what s3prl knows.

    Raises:
        ConfigError: A GPU was asked for, and there is none; or one that torch cannot use.
    """
    if not args.verbose:
        hush()
    # No environment may turn the safe way of loading checkpoints off.
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    import torch

    import spknorm.compat  # noqa: F401

    if args.device is None:
        args.device = default_device()
    check_device(args.device)
    if args.local_rank is None and "LOCAL_RANK" in os.environ:  # torchrun
        args.local_rank = int(os.environ["LOCAL_RANK"])
    torch.multiprocessing.set_sharing_strategy("file_system")  # type: ignore[no-untyped-call]  # torch
    if args.cache_dir is not None:
        from s3prl.util import download

        torch.hub.set_dir(args.cache_dir)
        download.set_dir(args.cache_dir)
    for name in _NOT_S3PRLS:
        vars(args).pop(name, None)
    if args.hub == "huggingface":
        args.from_hf_hub = True
        logger.warning("This runs the Python code of the repository %s.", args.upstream)


def check_options(args: argparse.Namespace) -> None:
    """Check what several commands take: --device and --seed; without torch.

    Raises:
        ConfigError: Neither cpu, cuda nor cuda:N; a seed that no generator takes.
    """
    device = getattr(args, "device", None)
    if device is not None and not re.fullmatch(r"cpu|cuda(:\d+)?", str(device)):
        raise ConfigError(f"`--device` must be cpu, cuda or cuda:N, but is `{device}`.")
    seed = getattr(args, "seed", None)
    if seed is not None and not (isinstance(seed, int) and 0 <= seed < 1 << 32):
        raise ConfigError(f"`--seed` must be a whole number from 0 to 2**32 - 1, but is `{seed}`.")


def hush() -> None:
    """Silence what other packages say on every start and no user can change."""
    # s3prl uses what torch will drop some day, and looks for packages that it can do without.
    for text in (
        ".*weight_norm.* is deprecated",
        ".*torch.cuda.amp.* is deprecated",
        ".*torch.jit",
    ):
        warnings.filterwarnings("ignore", message=text)
    # Python 3.12 says of strings in s3prl what 3.11 kept to itself.
    warnings.filterwarnings("ignore", category=SyntaxWarning, module=".*s3prl")
    logging.getLogger("s3prl.upstream.espnet_hubert.expert").setLevel(logging.ERROR)


def write_settings(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Write args_TIME.yaml and config_TIME.yaml into the experiment folder, as s3prl does."""
    folder, now = Path(args.expdir), time.strftime("%Y-%m-%d-%H-%M-%S")
    write_atomic(folder / f"args_{now}.yaml", yaml.safe_dump(vars(args)))
    write_atomic(folder / f"config_{now}.yaml", yaml.safe_dump(config))
    if args.upstream_model_config is not None:
        source = Path(args.upstream_model_config)
        write_atomic(folder / f"{source.stem}_{now}{source.suffix}", source.read_bytes())


def seed(args: argparse.Namespace) -> None:
    """Seed the global generators and make cuDNN deterministic, as s3prl's main does."""
    import numpy as np
    import torch

    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    torch.backends.cudnn.enabled = not args.disable_cudnn
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
