"""`spknorm audit`: what fresh probes still find of the speaker in trained upstreams."""

import argparse
from pathlib import Path

from spknorm.cli.bars import bar, tell
from spknorm.cli.parsing import DEVICE, Command, flag, option
from spknorm.config.device import default_device
from spknorm.errors import ConfigError


def run(args: argparse.Namespace) -> int:
    """Probe, write probe.json beside each result, and print the table."""
    if args.max_speakers is not None and args.max_speakers < 2:
        raise ConfigError(
            f"`--max-speakers` must be 2 or more, to be told apart, but is `{args.max_speakers}`."
        )
    from spknorm.probe import audit

    with bar("audit", leave=False) as show:
        rows = audit.audit(
            args.folders,
            every_run=args.every_run,
            every_layer=args.every_layer,
            labels=tuple(args.label or ("speaker",)),
            max_speakers=args.max_speakers,
            seed=args.seed,
            most=None if args.whole else audit.MOST_UTTERANCES,
            verifier=args.verifier,
            part=_part(args.part),
            device=args.device,
            tell=tell,
            progress=show,
        )
    print(audit.table(rows))
    return 0


def finish(folder: Path) -> None:
    """Do what is left of a benchmark's audit, with its bar; nothing where all is done.

    Raises:
        MissingError, DataError, NonFiniteError: See spknorm.probe.audit.
    """
    from spknorm.probe.audit import audit, is_complete

    if is_complete(folder):
        return
    device = default_device()
    with bar("audit", leave=False) as show:
        audit(folder, device=device, tell=lambda text: tell(f"Audit: {text}"), progress=show)


def _part(text: str | None) -> tuple[int, int]:
    """Return K and N of `K/N`.

    Raises:
        ConfigError: It is something else.
    """
    number, _, num_parts = (text or "1/1").partition("/")
    if not (number.isdecimal() and num_parts.isdecimal() and 1 <= int(number) <= int(num_parts)):
        raise ConfigError(f"`--part` must be K/N with K from 1 to N, such as 2/5, but is `{text}`.")
    return int(number), int(num_parts)


COMMAND = Command(
    "train fresh speaker probes on the upstreams of finished experiments, with controls",
    "example: spknorm audit result/demo --every-layer",
    (
        option("folders", "a benchmark's folder, or experiment folders", "DIR", nargs="+"),
        flag("--every-run", "all folds and seeds, not one run per variant"),
        flag("--every-layer", "also a linear probe of each hidden state"),
        option(
            "--label", "column to probe, repeatable (default: speaker)", "COLUMN", action="append"
        ),
        option("--max-speakers", "keep those with the most utterances (default: all)", "N"),
        option("--seed", "of splits, probes and trials (default: 0)", type=int, default=0),
        flag("--whole", "every utterance, not a sample of large corpora"),
        flag("--verifier", "also Resemblyzer's d-vectors (extra: verifier)"),
        option("--part", "do the K-th of N parts, the others elsewhere", "K/N"),
        DEVICE,
    ),
    run,
)
