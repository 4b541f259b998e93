import argparse
import importlib
import subprocess
import sys

import pytest
from command_lines import OWN_OPTIONS, REPOSITORY, S3PRL_OPTIONS

from spknorm.cli import (
    arguments,
    commands,
    main,
)
from spknorm.cli.parsing import add_arguments

pytestmark = pytest.mark.usefixtures("corpus_roots")


def options_of(parser):
    return {" ".join(action.option_strings) for action in parser._actions} - {"-h --help"}


def test_the_options_are_s3prl_s_and_two_more():
    parser = argparse.ArgumentParser()
    add_arguments(parser, arguments.ARGUMENTS)
    assert options_of(parser) == S3PRL_OPTIONS | OWN_OPTIONS


def test_every_option_of_stock_s3prl_is_there_under_the_same_name(monkeypatch):
    """Reads the option table out of s3prl's own parser instead of trusting the list above."""
    importlib.import_module("spknorm.compat")
    stock = importlib.import_module("s3prl.run_downstream")
    stock_parser = []
    parse = argparse.ArgumentParser.parse_args

    def remember(self, *args, **options):
        stock_parser.append(self)
        raise InterruptedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", remember)
    with pytest.raises(InterruptedError):
        stock.get_downstream_args()
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    theirs = {
        tuple(a.option_strings): a for a in stock_parser[0]._actions if a.dest not in ("help",)
    }
    own = argparse.ArgumentParser()
    add_arguments(own, arguments.ARGUMENTS)
    ours = {string: action for action in own._actions for string in action.option_strings}
    for strings, action in theirs.items():
        for string in strings:
            mine = ours[string]
            assert (mine.dest, mine.type, mine.choices and set(mine.choices)) == (
                action.dest,
                action.type,
                action.choices and set(action.choices),
            )
            assert type(mine) is type(action)
    filled_in_later = {
        "upstream_trainable",
        "upstream_feature_selection",
        "device",
        "mode",  # required there
    }
    for action in theirs.values():
        if action.dest not in filled_in_later:
            assert ours[action.option_strings[0]].default == action.default, action.dest


@pytest.mark.parametrize("command", [["run_downstream.py"], ["-m", "spknorm", "run-downstream"]])
def test_help_is_quick_small_and_loads_neither_torch_nor_the_hub(command):
    code = (
        "import pathlib, runpy, sys, time\n"
        f"argv = {command!r}\n"
        "sys.argv = [*argv[argv[0] == '-m' :], '--help']\n"
        "try:\n"
        "    runpy.run_module('spknorm', run_name='__main__') if argv[0] == '-m' else "
        "runpy.run_path(argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    status = end.code\n"
        "loaded = sorted({'torch', 's3prl', 's3prl.hub', 'torchaudio'} & set(sys.modules))\n"
        "memory = pathlib.Path('/proc/self/status').read_text()\n"
        "peak = int(memory.partition('VmHWM:')[2].split()[0]) / 1024\n"
        "print(status, loaded, peak, time.process_time(), file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    status, loaded, megabytes, seconds = result.stderr.rsplit(" ", 3)
    assert (status, loaded) == ("0", "[]")
    assert float(megabytes) < 120
    assert float(seconds) < 0.6  # of this process: the machine may be busy with others
    assert "-u NAME" in result.stdout


def test_importing_the_package_loads_neither_torch_nor_s3prl():
    code = "import spknorm, spknorm.cli, sys; print({'torch', 's3prl'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert result.stdout == "set()\n"


def test_entry_scripts_are_three_statements():
    import ast

    for path in ("run_downstream.py", "spknorm/__main__.py"):
        body = ast.parse((REPOSITORY / path).read_text()).body
        assert len([node for node in body if not isinstance(node, ast.Expr)]) == 3


def test_each_command_has_help(capsys):
    for name in commands.SUBCOMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        assert f"spknorm {name}" in capsys.readouterr().out
