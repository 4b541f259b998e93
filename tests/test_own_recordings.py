"""docs/own_recordings.md works as it is written: its files are written and its commands run."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/own_recordings.md").read_text()
FILES = re.findall(r"^```(?:python|yaml) (\S+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]


def run(line, folder):
    """Run a command of the page as a user does, in their own folder."""
    words = shlex.split(line)
    if words[0] == "spknorm":
        words = [sys.executable, "-m", "spknorm", *words[1:]]
    else:
        script = words[1] if (folder / words[1]).exists() else ROOT / words[1]
        words = [sys.executable, str(script), *words[2:]]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        words,
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_the_page_has_its_scripts_and_commands():
    assert [name for name, _ in FILES] == ["make_recordings.py", "make_list.py", "mine.yaml"]
    assert [line.split()[0] for line in COMMANDS] == ["spknorm"] * 5


@pytest.mark.slow
def test_from_a_folder_of_recordings_to_predictions(tmp_path):
    for name, content in FILES:
        (tmp_path / name).write_text(content)
        if name.endswith(".py"):
            run(f"python {name}", tmp_path)
    splits, doctor, *_ = (run(line, tmp_path) for line in COMMANDS)
    assert splits.count("no leak found") == 4
    assert "128 utterances of 8 speakers" in doctor
    result = json.loads((tmp_path / "result/downstream/mine/result.json").read_text())
    assert result["protocol"] == "loso-group"
    assert len(result["test"]["by_speaker"]) == 2
    with (tmp_path / "emotions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 128
