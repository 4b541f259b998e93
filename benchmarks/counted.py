"""Counts what a step of HuBERT Large asks of a GPU, on a pretended one; nothing is timed.

    python benchmarks/counted.py

Needs a C compiler and a CUDA build of torch, no GPU; see tests/device/pretended.py. Each step is 32
utterances of 3 to 6 s, front ends cached, and 32 speaker crops of 4 s. Prints the table of
docs/performance.md: what the commit before this work, 3532b1f, asked for, which has to be in the
clone's history, and what today's tree does.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "device"))

import pretended  # noqa: E402

BEFORE = "3532b1f"
EMOTION = [3.0 + 3.0 * place / 31 for place in range(32)]
SPEAKER = [4.0] * 32
ROWS: dict[str, dict[str, Any]] = {
    "none, bf16": {"strategy": "none"},
    "TAP, literal, bf16": {},
    "TAP, literal, bf16, activations recomputed": {"recomputed": True},
    "TAP, literal, float32, 4 x 8 accumulated": {"precision": "fp32", "accumulate": 8},
    "TAP, literal, bf16, 4 x 8 accumulated": {"accumulate": 8},
    "TAP, relative, bf16": {"update": "relative"},
    "TAP, relative, float32": {"update": "relative", "precision": "fp32"},
    "TAP, relative, bf16, activations recomputed": {"update": "relative", "recomputed": True},
    "TAP, relative, bf16, 4 x 8 accumulated": {"update": "relative", "accumulate": 8},
    "the same on a card of sm_89 with 24 GB (an RTX 4090's kind)": {
        "update": "relative", "accumulate": 8, "card": {"capability": 89, "gigabytes": 24},
    },
}  # fmt: skip
HEAD = """\
| step | kernels, before | now | waits, before | now | GB at the peak, before | now |
|---|---:|---:|---:|---:|---:|---:|"""


def main() -> int:
    """Count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=ROWS, default=[*ROWS], metavar="STEP")
    arguments = parser.parse_args()
    if (reason := pretended.reason_unavailable()) is not None:
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library, before = pretended.build(folder), _before(folder / "before")
        server = pretended.Server(library, folder)
        print(HEAD)
        for row in arguments.only:
            asked, card = _asked(**ROWS[row])
            earlier: dict[str, Any] = {}
            if before is not None and ROWS[row].get("update") is None:
                [earlier] = _counted_before(library, before, asked, **card)
            [now] = server.ask("count", {"shape": "large", **asked}, **card)
            cells = [
                text.format(found[key]) if found else ""
                for key, text in (("launches", "{}"), ("waits", "{}"), ("reserved_gb", "{:.1f}"))
                for found in (earlier, now)
            ]
            print(f"| {row} | {' | '.join(cells)} |", flush=True)
        server.close()
    return 0


def _asked(
    *,
    strategy: str = "TAP",
    update: str = "literal",
    precision: str = "bf16",
    accumulate: int = 1,
    recomputed: bool = False,
    card: dict[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what `tasks.count` takes, and the card."""
    one = {"strategy": strategy, "update": update, "precision": precision, "cached": True}
    asked = {
        "combinations": [one],
        "emotion": EMOTION[::accumulate],
        "speaker": SPEAKER,
        "runner": {"gradient_accumulate_steps": accumulate, "gradient_clipping": 0.5},
        "upstream": {"checkpoint_activations": recomputed},
    }
    return asked, card or {}


def _before(folder: Path) -> Path | None:
    """Write the tree of `BEFORE` into a folder; return it, or None where the clone lacks it."""
    packed = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, capture_output=True)
    if packed.returncode:
        print(f"{BEFORE} is not in this clone's history: counted is today's alone.")
        return None
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return folder


def _counted_before(library: Path, tree: Path, asked: dict[str, Any], **card: Any) -> Any:
    script = str(ROOT / "benchmarks" / "before.py")
    done = pretended.start(library, script, json.dumps(asked), tree=tree, **card)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
