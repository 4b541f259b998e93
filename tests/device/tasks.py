"""What the tests ask of the pretended device, each in a process of its own.

python tasks.py NAME JSON      the keyword arguments as JSON; the last line printed is the answer
"""

import dataclasses
import json
import logging
import sys
import warnings
from typing import Any

import steps


def count(
    shape: str,
    combinations: list[dict[str, str]],
    emotion: list[float],
    speaker: list[float],
    **sections: Any,
) -> list[dict[str, Any]]:
    """Count the second step of each combination of strategy, update and precision."""
    found = []
    for one in combinations:
        sections = _sections(**one, base=sections)
        made = steps.Setup(shape, steps.settings(**sections), cached=one.get("cached", False))
        steps.device.reads = int(one.get("reads", 0))
        batches = steps.batch(emotion), steps.batch(speaker, classes=50)
        made.step(*batches)
        steps.reset()
        made.step(*batches)
        counted = dataclasses.asdict(steps.asked())
        found.append({**one, **counted, "said": made.said, "done": made.counters.step})
        del made
    return found


def _sections(
    *, strategy: str, update: str, precision: str, base: dict[str, Any], **_: Any
) -> dict[str, Any]:
    method = {"strategy": strategy, "update": update}
    if update == "adaptive":
        method["ascent_lr"] = 1e-6
    return {
        **base,
        "runner": {**base.get("runner", {}), "precision": precision, "max_nonfinite": 1000},
        "downstream_expert": {**base.get("downstream_expert", {}), "spknorm": method},
    }


def main() -> None:
    """Run one of the functions above."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    name, arguments = sys.argv[1:3]
    answer = globals()[name](**json.loads(arguments))
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
