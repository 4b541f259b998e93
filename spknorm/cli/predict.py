"""`spknorm predict`: emotions of files and folders from a trained experiment."""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from spknorm.cli.bars import bar
from spknorm.cli.parsing import DEVICE, Command, flag, option
from spknorm.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spknorm.predict import Prediction


def run(args: argparse.Namespace) -> int:
    """Print or write the predictions; 3 if a file could not be used."""
    from spknorm import predict
    from spknorm.audio import printable
    from spknorm.predict.page import check_page, check_shown, write_page
    from spknorm.predict.rows import check_out
    from spknorm.predict.segments import segments_of

    # What a model is not needed for, before it is loaded.
    predict.check_asked(args.window, args.hop)
    if args.out is not None:
        check_out(args.out)
    segments = None if args.segments is None else segments_of(args.segments)
    files = predict.find_audio(args.paths)
    if args.page is not None:
        check_page(args.page, files)
    failed: dict[Path, str] = {}
    predictor = predict.load(args.expdir, device=args.device)
    if args.page is not None:
        check_shown(predictor.dimensions)
    rows = predict.predict_files(
        predictor,
        files,
        window_seconds=args.window,
        hop_seconds=args.hop,
        segments=segments,
        failed=failed if args.skip_bad else None,
    )
    told: Iterable[Prediction] = _with_bar(rows, files)
    if args.page is not None:
        told = kept = list(told)
        if kept:  # else its only recording was skipped
            write_page(kept, args.page, model=printable(args.expdir.resolve().name))
            print(f"{printable(args.page)}: {len(kept)} window{'s' * (len(kept) != 1)}")
    if args.out is not None:
        print(f"{predict.write_rows(told, args.out)} rows in {printable(args.out)}")
    elif args.page is None:
        for number, row in enumerate(told):
            print(predict.to_csv(row, header=number == 0), end="")
    return DataError.exit_code if failed else 0


def _with_bar(rows: "Iterable[Prediction]", paths: "Sequence[Path]") -> "Iterator[Prediction]":
    """Yield the rows, and show how much of all recordings is done, with the time left."""
    from spknorm.audio import AudioError, read_info

    seconds = dict.fromkeys(paths, 0.0)
    if sys.stderr.isatty():
        for path in paths:
            with contextlib.suppress(AudioError):  # told when it is predicted
                seconds[path] = read_info(path).seconds
    total, done, before = round(sum(seconds.values())), 0.0, None
    with bar("seconds") as show:
        show(0, total)
        for row in rows:
            if before not in (None, row.path):
                done += seconds[before]
            before = row.path
            show(round(done + min(row.end, seconds.get(row.path, 0.0))), total)
            yield row


COMMAND = Command(
    "emotion probabilities of audio files, with windows over long ones",
    "example: spknorm predict result/downstream/NAME a.wav --window 2 --page a.html",
    (
        option("expdir", "a trained experiment of emotion_spknorm", "EXPDIR"),
        option("paths", "recordings", "FILE_OR_FOLDER", type=Path, nargs="+"),
        option("--out", "write .csv or .jsonl instead of printing CSV", "FILE", type=Path),
        option(
            "--window",
            "predict windows of this length (default: 10 of what is over 60 s, else the whole)",
            "SECONDS",
        ),
        option("--hop", "from one window's start to the next's (default: the window)", "SECONDS"),
        option(
            "--segments",
            "predict these parts alone: a .csv, .rttm or .TextGrid, or `vad` to find speech",
            "FILE",
        ),
        option(
            "--page",
            "write a page to look at and listen to; of one recording",
            "FILE.html",
            type=Path,
        ),
        flag("--skip-bad", "go on after a file that cannot be used"),
        DEVICE,
    ),
    run,
)
