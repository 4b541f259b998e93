"""`spknorm audit`: what fresh probes still find of the speaker in trained upstreams."""

import argparse
import sys
from pathlib import Path

HELP = "train fresh speaker probes on the upstreams of finished experiments, with controls"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `spknorm audit`."""
    add = parser.add_argument
    add(
        "folders",
        metavar="DIR",
        type=Path,
        nargs="+",
        help="a benchmark's folder, or experiment folders",
    )
    add("--every-run", action="store_true", help="all folds and seeds, not one run per variant")
    add("--every-layer", action="store_true", help="also a linear probe of each hidden state")
    add("--label", action="append", metavar="COLUMN", help="column to probe, repeatable (speaker)")
    add("--max-speakers", metavar="N", type=int, help="those with the most utterances")
    add("--seed", type=int, default=0, help="of splits, probes and trials (0)")
    add("--device", default="cpu", help="default: cpu")


def run(args: argparse.Namespace) -> int:
    """Probe, write probe.json beside each result, and print the table."""
    from spknorm import audit

    rows = audit.audit(
        args.folders,
        every_run=args.every_run,
        every_layer=args.every_layer,
        labels=tuple(args.label or ("speaker",)),
        max_speakers=args.max_speakers,
        seed=args.seed,
        device=args.device,
        tell=lambda text: print(text, file=sys.stderr),
    )
    print(audit.table(rows))
    return 0
