"""`spknorm serve`: record or upload speech in a browser and look at its emotions."""

import argparse
import contextlib

from spknorm.cli.parsing import DEVICE, Command, flag, option


def run(args: argparse.Namespace) -> int:
    """Serve until it is stopped."""
    from spknorm import predict
    from spknorm.audio import printable
    from spknorm.predict.serve import Server, check_address

    hop = min(1.0, args.window) if args.hop is None else args.hop
    predict.check_asked(args.window, hop)
    check_address(args.host, args.port, allow_others=args.allow_others)
    predictor = predict.load(args.expdir, device=args.device)
    with Server(
        predictor,
        model=printable(args.expdir.resolve().name),
        host=args.host,
        port=args.port,
        window_seconds=args.window,
        hop_seconds=hop,
        allow_others=args.allow_others,
    ) as server:
        print(f"{server.address} (Ctrl-C stops it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0


COMMAND = Command(
    "serve a page on this machine: record from the microphone, see the emotions over time",
    "example: spknorm serve result/downstream/NAME",
    (
        option("expdir", "a trained experiment of emotion_spknorm", "EXPDIR"),
        option("--port", "0 takes a free one (default: 7860)", "N", default=7860),
        option(
            "--host", "address to listen at (default: 127.0.0.1)", "ADDRESS", default="127.0.0.1"
        ),
        flag("--allow-others", "with --host: allow an address that other machines reach"),
        option("--window", "length of a window (default: 3)", "SECONDS", default=3.0),
        option("--hop", "from one window's start to the next's (default: 1)", "SECONDS"),
        DEVICE,
    ),
    run,
)
