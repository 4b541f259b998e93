"""Counts what a step of HuBERT Large asks of a GPU, on a pretended one; nothing is timed.

    python benchmarks/counted.py

Needs a C compiler and a CUDA build of torch, no GPU; see tests/device/pretended.py. Each step is 32
utterances of 3 to 6 s, front ends cached, and 32 speaker crops of 4 s. Prints the table of
docs/performance.md.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "device"))

import pretended  # noqa: E402

EMOTION = [3.0 + 3.0 * place / 31 for place in range(32)]
SPEAKER = [4.0] * 32
ROWS = {
    "none, bf16": {"strategy": "none", "update": "literal", "precision": "bf16"},
    "TAP, literal, bf16": {"strategy": "TAP", "update": "literal", "precision": "bf16"},
    "TAP, relative, bf16": {"strategy": "TAP", "update": "relative", "precision": "bf16"},
    "TAP, relative, fp32": {"strategy": "TAP", "update": "relative", "precision": "fp32"},
}
RECOMPUTED = "TAP, relative, bf16, activations recomputed"
ACCUMULATED = "TAP, relative, bf16, 4 x 8 accumulated"
SMALLER = f"{ACCUMULATED}, on a card of sm_89 with 24 GB"


def main() -> int:
    """Count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    every = (*ROWS, RECOMPUTED, ACCUMULATED, SMALLER)
    parser.add_argument("--only", nargs="+", choices=every, default=every, metavar="STEP")
    arguments = parser.parse_args()
    if (reason := pretended.reason_unavailable()) is not None:
        sys.exit(reason)
    print("| step | kernels | waits | GB at the peak, reserved |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        library = pretended.build(Path(folder))
        for name in arguments.only:
            row: dict[str, Any] = ROWS.get(name, ROWS["TAP, relative, bf16"])
            accumulate = 8 if name.startswith(ACCUMULATED) else 1
            [found] = pretended.ask(
                library,
                "count",
                {
                    "shape": "large",
                    "combinations": [{**row, "cached": True}],
                    "emotion": EMOTION[::8] if accumulate == 8 else EMOTION,
                    "speaker": SPEAKER,
                    "runner": {
                        "gradient_accumulate_steps": accumulate, "gradient_clipping": 0.5,
                    },
                    "upstream": {"checkpoint_activations": name == RECOMPUTED},
                },
                **({"capability": 89, "gigabytes": 24} if name == SMALLER else {}),
            )  # fmt: skip
            launches, waits, peak = (found[k] for k in ("launches", "waits", "reserved_gb"))
            print(f"| {name} | {launches} | {waits} | {peak:.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
