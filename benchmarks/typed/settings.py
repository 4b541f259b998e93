"""Files of settings and of experiments, whole and odd."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from typed.sounds import LFS

if TYPE_CHECKING:
    from typed.inputs import Inputs

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SHORT = """\
runner: {total_steps: 6, eval_step: 3, save_step: 3, log_step: 3}
downstream_expert:
  datarc: {corpus: demo}
  speaker_corpus: {corpus: demo}
  spknorm: {speaker_pretrain_steps: 5}
"""
_ARRAYS = """\
import numpy as np
from spknorm import predict

model = predict.load("exp")
wave = np.random.default_rng(0).normal(0, 0.1, 22400).astype("float32")
whole = (wave * 8000).astype("int16")


def ask(array, rate=16000):
    try:
        return model.predict(array, rate)
    except ValueError as error:
        return f"{type(error).__name__}: {error}"


print("(1, L), (L, 1):", {ask(wave[None]) == ask(wave), ask(wave[:, None]) == ask(wave)})
print("int16:", {ask(whole) == ask(whole.astype("float32") / 32768)})
for odd in (np.stack([wave, wave]), np.full(22400, 1e30, "float32"), np.zeros((1, 0), "float32")):
    print(ask(odd))
"""
_SAVE = """\
import sys
import spknorm.compat, torch, torchaudio

torchaudio.save(sys.argv[1], torch.zeros(1, 800), 16000)
print(sys.argv[1], "has", torchaudio.load(sys.argv[1])[0].shape[1], "samples")
"""
_STOP_WORKERS = '''\
"""A run both of whose workers are stopped in the middle, and which is then asked to end."""
import os, signal, subprocess, sys, time
from pathlib import Path

folder = Path(sys.argv[1])
metrics = folder / "metrics.jsonl"
command = [
    "python", "run_downstream.py", "-d", "emotion_spknorm", "-u", "spknorm_demo_hubert",
    "-p", str(folder), "-c", "short.yaml", "-o",
    "config.upstream.cache=off,,config.runner.total_steps=2000,,config.runner.eval_step=2000,,"
    "config.runner.log_step=1",
]
run = subprocess.Popen(command)
while run.poll() is None and not (metrics.is_file() and "drift" in metrics.read_text()):
    time.sleep(0.2)  # until it trains: its workers are at work
listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(run.pid)], capture_output=True)
workers = [int(pid) for pid in listed.stdout.split()]
for pid in workers:
    os.kill(pid, signal.SIGSTOP)
size = -1
while size != metrics.stat().st_size:  # until what they had sent before is used up
    size = metrics.stat().st_size
    time.sleep(8)
run.send_signal(signal.SIGTERM)
status = run.wait()
for pid in workers:
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        pass
print(len(workers) >= 2 and "workers were stopped")
sys.exit(status if status >= 0 else 128 - status)
'''
_SECOND_RUN = '''\
"""A run that begins in the folder of another that goes on; its status is the second's."""
import subprocess, sys, time
from pathlib import Path

folder = Path(sys.argv[1])
command = [
    "python", "run_downstream.py", "-d", "emotion_spknorm", "-u", "spknorm_demo_hubert",
    "-p", str(folder), "-c", "short.yaml",
]
first = subprocess.Popen(command, stderr=subprocess.DEVNULL)
while first.poll() is None and not (folder / ".lock").is_file():
    time.sleep(0.1)
second = subprocess.run(command)
first.kill()
first.wait()
sys.exit(second.returncode)
'''
_BASE = """\
config: {downstream_expert: {datarc: {corpus: demo}, speaker_corpus: {corpus: demo}}}
upstreams: [spknorm_demo_hubert]
"""
_SD = "seeds: [1337]\nprotocols: [{protocol: sd, folds: [fold1]}]\n"
_SI5 = "seeds: [1337]\nprotocols: [{protocol: si5, folds: [fold1]}]\n"
_TEXTS = {
    "short.yaml": SHORT,
    "arrays.py": _ARRAYS,
    "save.py": _SAVE,
    "stop_workers.py": _STOP_WORKERS,
    "second_run.py": _SECOND_RUN,
    "a_file": "",
    "dup.yaml": "runner: {total_steps: 5}\noptimizer: {lr: 1.0e-3}\noptimizer: {lr: 1.0e-2}\n",
    "empty.yaml": "",
    "alias.yaml": "runner: &a [*a]\n",
    "lfs.yaml": LFS,
    "lfs.csv": LFS,
    "lfsrun": LFS,
    "off.yaml": f"name: nulls\n{_BASE}{_SD}variants:\n  - {{strategy: off}}\n"
    '  - {strategy: SNP, frozen: "no"}\n',
    "twice.yaml": f"name: twice\n{_BASE}{_SI5}"
    "variants: [{name: A, strategy: none}, {name: A, strategy: SNP}]\n",
    "folds.yaml": f"name: folds\n{_BASE}protocols: [{{protocol: si5, folds: fold1}}]\n"
    "variants: [{strategy: none}]\n",
    "sep.yaml": f"name: ../x\n{_BASE}variants: [{{strategy: none}}]\n",
}


def _text(inputs: "Inputs", name: str) -> None:
    inputs.write("lfsrun/result.json" if name == "lfsrun" else name, _TEXTS[name])


def _pipe(inputs: "Inputs") -> None:
    os.mkfifo(inputs / "pipe.yaml")


def _disk(inputs: "Inputs", name: str, size: str) -> None:
    """Mount a file system of a few KB; `full` has no room at all."""
    inputs.run(f"mkdir -p {name}; mount -t tmpfs -o size={size} none {name}")
    if name == "full":
        inputs.run("head -c 100000 /dev/zero > full/filler; test $(stat -c %s full/filler) -gt 0")


def _demo_yaml(inputs: "Inputs") -> None:
    shutil.copy(CONFIGS / "demo.yaml", inputs / "demo.yaml")


def _configs(inputs: "Inputs") -> None:
    shutil.copytree(CONFIGS, inputs / "configs", dirs_exist_ok=True)


MAKERS: dict[str, Callable[["Inputs"], None]] = {
    **{name: partial(_text, name=name) for name in _TEXTS},
    "pipe.yaml": _pipe,
    "small": partial(_disk, name="small", size="600k"),
    "full": partial(_disk, name="full", size="8k"),
    "demo.yaml": _demo_yaml,
    "configs": _configs,
}
