"""`spknorm predict`: emotions of files and folders from a trained experiment."""

import argparse
import sys
from pathlib import Path

from spknorm.errors import DataError

HELP = "emotion probabilities of audio files, with windows over long ones"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `spknorm predict`."""
    add = parser.add_argument
    add("expdir", metavar="EXPDIR", type=Path, help="a trained experiment of emotion_spknorm")
    add("paths", metavar="FILE_OR_FOLDER", type=Path, nargs="+")
    add("--out", metavar="FILE", type=Path, help="write .csv or .jsonl instead of printing CSV")
    add("--window", metavar="SECONDS", type=float, help="hear in windows of this length")
    add("--hop", metavar="SECONDS", type=float, help="from one window's start to the next's")
    add("--skip-bad", action="store_true", help="go on after a file that cannot be used")
    add("--device", default="cpu", help="default: cpu")


def run(args: argparse.Namespace) -> int:
    """Print or write the predictions; 3 if a file could not be used."""
    from tqdm import tqdm

    from spknorm import predict

    failed: dict[Path, str] = {}
    rows = predict.predict_files(
        predict.load(args.expdir, device=args.device),
        args.paths,
        window_seconds=args.window,
        hop_seconds=args.hop,
        failed=failed if args.skip_bad else None,
    )
    told = tqdm(rows, desc="windows", unit="", file=sys.stderr, disable=None)
    if args.out is not None:
        print(f"{predict.write_rows(told, args.out)} rows in {args.out}")
    else:
        for number, row in enumerate(told):
            print(predict.to_csv(row, header=number == 0), end="")
    return DataError.exit_code if failed else 0
