"""What README.md and docs/ tell people to type works: commands are understood, Python runs."""

import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
from trained_folders import make_trained

from spknorm.cli import arguments, commands
from spknorm.export import export

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def _commands(page):
    lines = [line.strip() for line in page.read_text().replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith(("spknorm ", "python run_downstream.py "))]


@pytest.mark.parametrize("page", [page for page in PAGES if _commands(page)], ids=lambda p: p.name)
def test_the_command_lines_have_options_that_exist(page):
    for line in _commands(page):
        words = shlex.split(line, comments=True)
        if words[0] == "spknorm":
            commands.parser().parse_args(words[1:])
        else:
            arguments.parse(words[2:])


def test_the_readme_links_every_page():
    linked = set(re.findall(r"\]\((docs/\w+\.md)\)", (ROOT / "README.md").read_text()))
    assert linked == {f"docs/{page.name}" for page in PAGES[1:]} - {"docs/index.md"}  # the site's


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name)
def test_every_file_that_a_page_names_is_there(page):
    folders = "|".join(
        ("spknorm", "tests", "benchmarks", "configs", "downstream", "docs", "scripts")
    )
    named = re.findall(rf"`((?:{folders}|upstream_adapters)/[^` <>*]*)`", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


def _answers():
    table = (ROOT / "docs/architecture.md").read_text().partition("## Where is ...")[2]
    return re.findall(r"^\| [^|]+\? \| `([^`]+)`, `(\w+)`", table, re.MULTILINE)


def test_there_are_ten_questions_of_a_first_day_and_more():
    assert len(_answers()) >= 10


@pytest.mark.parametrize(("path", "name"), _answers())
def test_a_newcomer_finds_what_is_asked_for_in_the_file_named_first(path, name):
    found = re.search(
        rf"^(class |def )?{name}\b( =|:|\(|$)", (ROOT / path).read_text(), re.MULTILINE
    )
    assert found, f"{path} has no {name}"


@pytest.fixture
def place(tmp_path, tiny_hubert, monkeypatch):
    """A folder with the experiment and the recording that the pages speak of."""
    folder = make_trained(tmp_path / "result" / "downstream" / "my_experiment", tiny_hubert)
    export(folder)
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    soundfile.write(tmp_path / "recording.wav", noise, 8000)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if PYTHON.search(page.read_text())], ids=lambda p: p.name
)
def test_the_python_blocks_run_one_after_the_other(page, place):
    Path("blocks.py").write_text("\n".join(PYTHON.findall(page.read_text())))
    runpy.run_path("blocks.py")


@pytest.mark.parametrize("command", sorted(commands.SUBCOMMANDS))
def test_the_examples_of_each_commands_help_have_options_that_exist(command):
    text = commands.SUBCOMMANDS[command].example.replace("\\\n", " ")
    found = re.findall(r"spknorm ([a-z-]+ .*)", text)
    assert found
    for line in found:
        assert commands.parser().parse_args(shlex.split(line)).command == command


def test_every_option_has_help():
    for name in commands.SUBCOMMANDS:
        actions = commands.parser()._subparsers._group_actions[0].choices[name]._actions
        assert not [one.dest for one in actions if not one.help], name
