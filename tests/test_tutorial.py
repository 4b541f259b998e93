"""docs/tutorial.ipynb: small, without outputs, and its cells run one after the other."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"


def cells(kind):
    found = json.loads(NOTEBOOK.read_text())["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def test_it_is_small_and_holds_no_outputs():
    assert NOTEBOOK.stat().st_size < 20_000
    assert cells("markdown")
    for cell in cells("code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@pytest.mark.slow
def test_its_cells_run_and_leave_a_report_and_a_page(tmp_path):
    code = "\n\n".join("".join(cell["source"]) for cell in cells("code"))
    (tmp_path / "cells.py").write_text(code)
    root = str(NOTEBOOK.parents[1])
    ended = subprocess.run(
        [sys.executable, "cells.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "worst speaker" in ended.stdout
    assert re.search(r"^corpus +label +probe .*chance", ended.stdout, flags=re.MULTILINE)
    assert (tmp_path / "result/tutorial/report.html").is_file()
    assert "Emotions in" in (tmp_path / "recording.html").read_text()
