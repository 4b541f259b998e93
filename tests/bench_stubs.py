"""Cells of a bench that take milliseconds: stubs that count instead of training."""

import json
import sys

from spknorm.config import to_mapping

TEST = {
    "wa": 0.625,
    "ua": 19 / 30,
    "macro_f1": 13 / 21,
    "n": 8,
    "classes": ["neu", "hap"],
    "confusion": [[2, 1], [2, 3]],
    "by_speaker": {"a": [[1, 1], [1, 1]], "b": [[1, 0], [1, 2]]},
}

EXPERIMENT = """\
name: stubs
config: {runner: {total_steps: 30}}
upstreams: [spknorm_demo_hubert]
variants: [{strategy: none}, {strategy: SNP, frozen: true}]
protocols: [{protocol: si5, folds: [fold1, fold2]}]
executor: {max_parallel: 2}
"""

# Counts to 5 and keeps the count in a file, as a training keeps its checkpoint.
STUB = """\
import json, os, sys, time
folder, result, pause = sys.argv[1], json.loads(sys.argv[2]), float(sys.argv[3])
state = os.path.join(folder, "state")
step = int(open(state).read()) if os.path.exists(state) else 0
with open(os.path.join(folder, "starts"), "a") as file:
    file.write(f"{step}\\n")
while step < 5:
    time.sleep(pause)
    while sys.argv[5] and not os.path.exists(sys.argv[5]):
        time.sleep(0.1)
    step += 1
    with open(state + ".new", "w") as file:
        file.write(str(step))
    os.replace(state + ".new", state)
if result["fold"] == "fold2" and result["strategy"] == sys.argv[4]:
    print("spknorm: The stub was told to fail.", file=sys.stderr)
    sys.exit(3)
result["seconds"] = time.time()
with open(os.path.join(folder, "result.new"), "w") as file:
    json.dump(result, file)
os.replace(os.path.join(folder, "result.new"), os.path.join(folder, "result.json"))
"""


def result_of(cell):
    """What a run of the cell would leave behind, but for the numbers."""
    made_with = to_mapping(cell.config())
    method = made_with["downstream_expert"]["spknorm"]
    return {
        "schema": "spknorm.result/1",
        "upstream": cell.upstream.name,
        "strategy": method["strategy"],
        "protocol": made_with["downstream_expert"]["datarc"]["protocol"],
        "seed": cell.seed,
        "fold": cell.fold,
        "frozen": cell.frozen,
        "seconds": 10.0,
        "task": "emotion_spknorm",
        "speaker_lambda": method["speaker_lambda"],
        "args": {"upstream_ckpt": cell.upstream.ckpt, "upstream_layer_selection": cell.layer},
        "config": made_with,
        "test": TEST,
    }


def stub_command(folder, *, pause=0.0, failing="nobody", gate=""):
    """The stubs' command; with a gate they wait until that file is there."""
    script = folder / "stub.py"
    script.write_text(STUB)

    def command(cell, expdir):
        values = [str(expdir), json.dumps(result_of(cell)), str(pause), failing, str(gate)]
        return [sys.executable, "-S", "-E", str(script), *values]

    return command


def starts(out, cell):
    return (out / cell.name / "starts").read_text().split()
