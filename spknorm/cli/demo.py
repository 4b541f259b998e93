"""`spknorm demo`: the generated corpora, in the layouts of IEMOCAP, VoxCeleb1 and many others."""

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path

from spknorm.cli.bars import bar
from spknorm.cli.parsing import Command, option
from spknorm.errors import ConfigError


def run(args: argparse.Namespace) -> int:
    """Write the corpora unless they are there, and print how to name them."""
    if args.corpus is not None:
        return _write_one(args)
    from spknorm.demo import make_demo_corpora

    with bar("utterances") as show:
        roots = make_demo_corpora(args.folder, rho=args.rho, seed=args.seed, progress=show)
    _tell({"iemocap": roots.iemocap, "voxceleb1": roots.voxceleb1})
    return 0


def _write_one(args: argparse.Namespace) -> int:
    from spknorm.demo.corpus_trees import TREES, write_tree

    if args.corpus not in TREES:
        raise ConfigError(f"`--corpus` must be one of {', '.join(TREES)}, but is `{args.corpus}`.")
    folder = (args.folder or Path("demo")) / args.corpus
    if folder.exists():
        raise ConfigError(f"{folder} is there already and is left alone: name another folder.")
    written = write_tree(folder, args.corpus, seed=args.seed)
    print(f"{len(written)} utterances")
    _tell({args.corpus: folder})
    return 0


def _tell(roots: Mapping[str, Path]) -> None:
    """Print the command by which a shell, in any folder, knows where the corpora are."""
    named = (
        f"{name.upper()}_ROOT={shlex.quote(f'{root.absolute()}')}" for name, root in roots.items()
    )
    print("export", *named)


COMMAND = Command(
    "write the generated corpora that stand in for IEMOCAP and VoxCeleb1",
    "example: spknorm demo trees --corpus ravdess",
    (
        option(
            "folder", "default: a folder in $SPKNORM_CACHE or ~/.cache/spknorm", "DIR", nargs="?"
        ),
        option("--corpus", "a small tree in the layout of this corpus, instead of the two", "NAME"),
        option(
            "--rho",
            "confounding of speaker and emotion, 0 to 1 (default: 0.8)",
            type=float,
            default=0.8,
        ),
        option("--seed", "of voices, words and noise (default: 0)", type=int, default=0),
    ),
    run,
)
