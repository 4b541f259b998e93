"""`spknorm predict`: emotions of files and folders from a trained experiment."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from spknorm.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spknorm.predict import Segment

HELP = "emotion probabilities of audio files, with windows over long ones"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `spknorm predict`."""
    add = parser.add_argument
    add("expdir", metavar="EXPDIR", type=Path, help="a trained experiment of emotion_spknorm")
    add("paths", metavar="FILE_OR_FOLDER", type=Path, nargs="+")
    add("--out", metavar="FILE", type=Path, help="write .csv or .jsonl instead of printing CSV")
    add("--window", metavar="SECONDS", type=float, help="predict windows of this length")
    add("--hop", metavar="SECONDS", type=float, help="from one window's start to the next's")
    add(
        "--segments",
        metavar="FILE",
        help="only these parts: .csv, .rttm, .TextGrid, or vad: speech",
    )
    add("--page", metavar="FILE.html", type=Path, help="one recording to look at and listen to")
    add("--skip-bad", action="store_true", help="go on after a file that cannot be used")
    add("--device", help="default: cuda if there is a GPU, else cpu")


def run(args: argparse.Namespace) -> int:
    """Print or write the predictions; 3 if a file could not be used."""
    from tqdm import tqdm

    from spknorm import predict
    from spknorm.audio import printable
    from spknorm.predict.page import check_page, write_page

    predict.check_asked(args.window, args.hop)
    if args.page is not None:
        check_page(args.page, predict.find_audio(args.paths))
    failed: dict[Path, str] = {}
    rows = predict.predict_files(
        predict.load(args.expdir, device=args.device),
        args.paths,
        window_seconds=args.window,
        hop_seconds=args.hop,
        segments=_segments(args.segments),
        failed=failed if args.skip_bad else None,
    )
    told = tqdm(rows, desc="windows", unit="", file=sys.stderr, disable=None)
    if args.page is not None:
        kept = list(told)
        write_page(kept, args.page, model=printable(args.expdir.resolve().name))
        print(f"{args.page}: {len(kept)} windows")
        told = kept
    if args.out is not None:
        print(f"{predict.write_rows(told, args.out)} rows in {args.out}")
    elif args.page is None:
        for number, row in enumerate(told):
            print(predict.to_csv(row, header=number == 0), end="")
    return DataError.exit_code if failed else 0


def _segments(choice: str | None) -> "Callable[[Path], Sequence[Segment]] | None":
    from spknorm.predict import find_speech, read_segments

    if choice is None:
        return None
    if choice == "vad":
        return find_speech
    return lambda recording: read_segments(choice, recording=recording)
