import ctypes
import importlib
import os
import re
import resource
import subprocess
import sys
import sysconfig

import pytest
from command_lines import REPOSITORY, fail
from test_cli_surroundings import run

from spknorm.cli import libraries, status
from spknorm.config.device import check_compiler
from spknorm.errors import ConfigError


def loaded(tmp_path, monkeypatch, content, *, name="somelib"):
    """Return what a command ends with whose library's top level is `content`."""
    (tmp_path / f"{name}.py").write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))

    def command():
        return importlib.import_module(name).status

    try:
        return status.exit_status_of(command)
    finally:
        sys.modules.pop(name, None)


AGAIN = (
    " Install it again in this environment (pip install --force-reinstall), and see that "
    "LD_LIBRARY_PATH names no libraries of another version."
)


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (
            "ImportError('libx.so: failed to map segment from shared object')",
            "(libx.so: failed to map segment from shared object). Memory is short: end other "
            "programs, or take a machine with more.",
        ),
        (
            "OSError('libgomp.so.1: cannot allocate memory in static TLS block')",
            "(libgomp.so.1: cannot allocate memory in static TLS block). Memory is short: end "
            "other programs, or take a machine with more.",
        ),
        (
            "ImportError('libcudart.so.12: cannot open shared object file: No such file')",
            f"(libcudart.so.12: cannot open shared object file: No such file).{AGAIN}",
        ),
        (
            "ValueError('libcublas.so.*[0-9] not found in the system path')",
            f"(libcublas.so.*[0-9] not found in the system path).{AGAIN}",
        ),
        ("ImportError(\"cannot import name 'x'\")", f"(cannot import name 'x').{AGAIN}"),
    ],
)
def test_a_library_that_does_not_load_is_one_line(raised, told, tmp_path, monkeypatch, capsys):
    assert loaded(tmp_path, monkeypatch, f"raise {raised}\n") == 2
    assert capsys.readouterr().err == f"spknorm: The library `somelib` cannot be loaded {told}\n"


def test_a_library_opened_later_is_told_as_well(capsys):
    def command():
        return ctypes.CDLL("libnowhere.so.7")

    assert status.exit_status_of(command) == 2
    told = capsys.readouterr().err
    assert told.startswith("spknorm: A library cannot be loaded (libnowhere.so.7: cannot open sh")
    assert told.count("\n") == 1


def test_a_package_that_is_not_installed_is_named_with_who_asks(tmp_path, monkeypatch, capsys):
    assert loaded(tmp_path, monkeypatch, "import nowhere.part\n") == 2
    assert capsys.readouterr().err == (
        f"spknorm: The package `nowhere`, which `somelib` needs, is not installed for "
        f"{sys.executable}: install it there (pip install), or use the environment that has it.\n"
    )


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch):
    def command():
        raise ImportError("cannot import name 'x' from 'spknorm.files'")

    with pytest.raises(ImportError, match="cannot import name"):
        status.exit_status_of(command)


@pytest.mark.slow
@pytest.mark.parametrize(
    "entry",
    [["-m", "spknorm", "predict", "x", "y"], ["run_downstream.py", "-d", "emotion_spknorm"]],
)
@pytest.mark.usefixtures("corpus_roots")
def test_an_address_space_too_small_for_torch_is_one_line(entry, tmp_path):
    run_of = ["-u", "fbank", "--frozen", "-p", tmp_path] if "-d" in entry else []
    ended = subprocess.run(
        [sys.executable, *entry, *run_of],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)),
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    [line] = ended.stderr.splitlines()
    assert re.fullmatch(
        r"spknorm: torch and s3prl cannot be loaded \(.*failed to map segment from shared "
        r"object\)\. `ulimit -v` leaves this process 1\.0 GiB of address space: raise it, or lift "
        r"it \(ulimit -v unlimited; in a cluster's job, its virtual memory\)\.",
        line,
    )


def test_an_address_space_is_looked_at_only_where_it_is_limited(monkeypatch):
    before = list(sys.meta_path)
    libraries.prepare()
    assert sys.meta_path == before
    assert libraries.limit() == ""


def test_too_few_threads_for_the_libraries_make_it_compute_with_one(monkeypatch, capsys):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")
    monkeypatch.setenv("MKL_NUM_THREADS", "4")
    monkeypatch.setattr("threading.Thread.start", refuse)
    libraries.prepare()
    assert os.environ["OPENBLAS_NUM_THREADS"] == os.environ["OMP_NUM_THREADS"] == "1"
    assert capsys.readouterr().err == (
        "spknorm: This process may start 0 threads beside its own, not 9 (ulimit -u, or a "
        "container's limit): it computes with one.\n"
    )


def test_the_command_line_loads_no_library_of_others_before_errors_are_told():
    code = (
        "import spknorm.cli, sys; print({'numpy', 'yaml', 'soundfile', 'tqdm'} & set(sys.modules))"
    )
    assert run(code).stdout == "set()\n"


def test_docstrings_that_python_drops_are_named_as_the_cause(tmp_path):
    (tmp_path / "somelib.py").write_text(
        '"""Text."""\nif not __doc__:\n    raise ValueError("none")\n'
    )
    program = "import sys; from spknorm.cli.status import exit_status_of as e; "
    program += "sys.exit(e(lambda: __import__('somelib')))"
    done = subprocess.run(
        [sys.executable, "-OO", "-c", program],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == (
        "spknorm: The library `somelib` cannot be loaded (none). Python drops docstrings here "
        "(-OO, or PYTHONOPTIMIZE is 2), and transformers reads those of its classes: start it "
        "without, or unset PYTHONOPTIMIZE."
    )


COMPILED = "`config.upstream.compile` needs a compiler"


@pytest.mark.parametrize(
    ("device", "variable", "names"), [("cpu", "CXX", "g++"), ("cuda:0", "CC", "gcc or clang")]
)
def test_compiled_layers_without_a_compiler_are_refused(
    device, variable, names, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigError) as error:
        check_compiler(device)
    assert str(error.value) == (
        f"{COMPILED} ({names}, or what {variable} names), and there is none here: install one, or "
        "set it to false."
    )
    monkeypatch.setenv(variable, "/nowhere/cc")
    with pytest.raises(ConfigError) as error:
        check_compiler(device)
    assert str(error.value) == (
        f"{COMPILED}, but `/nowhere/cc` does not compile for this Python ([Errno 2] No such file "
        "or directory: '/nowhere/cc'): install it and Python's headers (python3-dev), or set it "
        "to false."
    )


def test_compiled_layers_need_the_headers_of_python(tmp_path, monkeypatch):
    check_compiler("cpu")
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"for this Python \(.*Python\.h: No such file"):
        check_compiler("cpu")


def test_a_run_without_a_compiler_ends_before_anything_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    folder = tmp_path / "run"
    settings = [
        "config.upstream.compile=true",
        *(
            f"config.downstream_expert.{corpus}.corpus=demo"
            for corpus in ("datarc", "speaker_corpus")
        ),
    ]
    argv = ["-d", "emotion_spknorm", "-u", "spknorm_demo_hubert", "--device", "cpu"]
    found = fail([*argv, "-p", str(folder), "-o", ",,".join(settings)], capsys)
    assert found == (
        2,
        f"spknorm: {COMPILED} (g++, or what CXX names), and there is none here: install one, or "
        "set it to false.",
    )
    assert not list(folder.glob("*.*l"))  # metrics.jsonl, config_*.yaml


def test_a_compiler_that_fails_later_is_one_line(capsys):
    from torch._inductor.exc import InductorError

    def command():
        raise InductorError(OSError("No space left on device"), None)

    assert status.exit_status_of(command) == 2
    assert capsys.readouterr().err == (
        "spknorm: torch.compile cannot compile (OSError: No space left on device): set "
        "config.upstream.compile to false.\n"
    )
