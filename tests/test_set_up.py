"""scripts/setup.sh with a Python whose `-m venv` and `-m pip` only take notes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = """\
#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
    echo "venv" >> {notes}
    mkdir -p "$4/bin"
    cp "$0" "$4/bin/python"
    echo "VIRTUAL_ENV='$4'; PATH='$4/bin':\\$PATH; export VIRTUAL_ENV PATH" > "$4/bin/activate"
elif [ "$1 $2 $3" = "-m pip install" ]; then
    shift 3
    echo "pip $*" >> {notes}
    exit ${{PIP_STATUS:-0}}
elif [ "$1 $2" != "-m pip" ]; then
    exec {python} "$@"
fi
"""


@pytest.fixture
def checkout(tmp_path):
    """A copy of what the set-up reads, with a note-taking Python."""
    folder = tmp_path / "checkout"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "setup.sh", folder / "scripts")
    for name in ("setup.cfg", "pyproject.toml", "constraints.txt"):
        (folder / name).write_text(f"{name}\n")
    python = tmp_path / "python"
    python.write_text(PYTHON.format(notes=tmp_path / "notes", python=sys.executable))
    python.chmod(0o755)
    return folder


def set_up(checkout, extra="", **environment):
    """Run it; return its exit status, what it said, and the notes taken meanwhile."""
    notes = checkout.parent / "notes"
    notes.unlink(missing_ok=True)
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    environment = {"SPKNORM_PYTHON": str(checkout.parent / "python"), **kept, **environment}
    done = subprocess.run(
        ["bash", "-c", f'. {checkout}/scripts/setup.sh; set_up {extra} && echo "in $VIRTUAL_ENV"'],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    taken = notes.read_text().splitlines() if notes.exists() else []
    return done.returncode, done.stdout + done.stderr, taken


QUIET = "pip --disable-pip-version-check --quiet"
VERIFIER = f"{QUIET} --no-deps resemblyzer funasr"


def test_an_empty_machine_gets_an_environment_and_the_tested_versions(checkout):
    status, said, notes = set_up(checkout)
    assert (status, notes) == (0, ["venv", f"{QUIET} -c constraints.txt -e ."])
    assert f"in {checkout}/.venv" in said
    assert f"Making the environment {checkout}/.venv" in said


def test_a_second_call_does_nothing(checkout):
    set_up(checkout, "test")
    assert set_up(checkout, "test") == (0, f"in {checkout}/.venv\n", [])


def test_for_the_tests_verifier_and_emotion2vec_come_without_what_they_say_they_require(checkout):
    _, _, notes = set_up(checkout, "test,lint")
    assert notes == [
        "venv",
        f"{QUIET} -c constraints.txt -e .[test,lint]",
        f"{QUIET} -c constraints.txt --no-deps resemblyzer funasr",
    ]


@pytest.mark.parametrize("name", ["setup.cfg", "pyproject.toml", "constraints.txt"])
def test_a_change_of_what_is_installed_installs_again(checkout, name):
    set_up(checkout)
    (checkout / name).write_text("changed\n")
    assert set_up(checkout)[2] == [f"{QUIET} -c constraints.txt -e ."]


def test_an_extra_is_installed_beside(checkout):
    set_up(checkout)
    assert set_up(checkout, "docs")[2] == [f"{QUIET} -c constraints.txt -e .[docs]"]


def test_a_failed_installation_is_tried_again(checkout):
    status, said, _ = set_up(checkout, PIP_STATUS="1")
    assert status == 1
    assert "The installation failed; what pip said is above. The next call tries again." in said
    assert set_up(checkout)[2] == [f"{QUIET} -c constraints.txt -e ."]


def test_the_active_environment_is_used(checkout):
    active = checkout.parent / "active"
    (active / "bin").mkdir(parents=True)
    shutil.copy(checkout.parent / "python", active / "bin" / "python")
    path = f"{active / 'bin'}:{os.environ['PATH']}"
    status, said, notes = set_up(checkout, VIRTUAL_ENV=str(active), PATH=path)
    assert (status, notes) == (0, [f"{QUIET} -c constraints.txt -e ."])
    assert f"in {active}" in said
    assert not (checkout / ".venv").exists()


def test_another_torch_can_be_had_in_another_environment(checkout):
    options = {"SPKNORM_VENV": ".venv-new", "SPKNORM_CONSTRAINTS": "none", "SPKNORM_TORCH": "torch"}
    status, said, notes = set_up(checkout, "test", **options)
    assert (status, notes) == (0, ["venv", f"{QUIET} torch", f"{QUIET} -e .[test]", VERIFIER])
    assert f"in {checkout}/.venv-new" in said


def test_a_machine_without_a_fitting_python_is_told(checkout):
    status, said, _ = set_up(checkout, SPKNORM_PYTHON="/nowhere/python")
    assert status == 1
    assert said == (
        "No Python 3.11, 3.12 or 3.13 was found. Install one, or name it: "
        "SPKNORM_PYTHON=/path/to/python\n"
    )
