"""Builds the pretended CUDA device of pretended.c, starts programs and does tasks on it.

The device stands in front of the real libraries (LD_PRELOAD), so it has to answer every function of
the CUDA runtime, of the driver and of cuBLAS that this torch links to: the names are read from
torch's own libraries. pretended.c answers those that training needs; of the others a matrix product
is counted, what cuBLAS is told is accepted, and the rest says that it is not supported.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
_PRODUCT = re.compile(r"cublas(Lt)?\w*(gemm|Gemm|gemv|trsm|dot|Dot|Matmul$|ger|trmm)\w*$")
_WANTED = re.compile(r"^(cuda|cublas|cu)[A-Z]\w*$")
_NOT_OURS = re.compile(r"^cu(File|sparse|solver|fft|rand|dnn|tensor)")
_NO_NVML = "no-nvml"
"""Folder of a library that cannot be opened: NVML would count a real card, past the device."""
_LIBRARIES = "LD_LIBRARY_PATH"
_SETTLED = ("cudaGetErrorName", "cudaGetErrorString", "cudaRuntimeGetVersion")


def reason_unavailable() -> str | None:
    """Return why there can be no pretended device here; None if there can."""
    if sys.platform != "linux":
        return "the pretended device is for Linux"
    if torch.version.cuda is None:
        return "this torch has no CUDA code: install the CUDA build, which needs no GPU"
    if missing := [tool for tool in ("cc", "nm") if shutil.which(tool) is None]:
        return f"there is no {' and no '.join(missing)} to build the pretended device with"
    if not _headers():
        return "the CUDA headers that come with torch's wheels are not there"
    return None


def build(folder: Path) -> Path:
    """Build the device in a folder; return the library to preload."""
    answers = folder / "answers.c"
    answers.write_text(_answers((HERE / "pretended.c").read_text()))
    library = folder / "libcuda.so.1"
    includes = [f"-I{path}" for path in _headers()]
    command = ["cc", "-w", "-O1", "-shared", "-fPIC", "-pthread", "-Wl,-soname,libcuda.so.1"]
    command += [*includes, str(HERE / "pretended.c"), str(answers), "-o", str(library)]
    subprocess.run(command, check=True)
    (folder / _NO_NVML).mkdir(exist_ok=True)
    (folder / _NO_NVML / "libnvidia-ml.so.1").touch()
    return library


def start(
    library: Path,
    *arguments: str,
    cards: int = 1,
    capability: int = 90,
    gigabytes: float = 80,
    refusal: int = 0,
    tree: Path = ROOT,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run Python with arguments on pretended cards.

    Args:
        library: From `build`.
        arguments: Of Python.
        cards: How many there are.
        capability: Of each, such as 90 for an H100.
        gigabytes: Memory of each.
        refusal: The CUDA error that counting the cards ends with; 35: the driver is too old.
        tree: The checkout that is imported.
        environment: Further variables.
    """
    cards_are = _environment(cards, capability, gigabytes, refusal)
    return subprocess.run(
        [sys.executable, *arguments],
        env={**_loaded(library, tree), **cards_are, **environment},
        capture_output=True,
        text=True,
        cwd=tree,
    )


class Done(NamedTuple):
    """What a task came to: its exit status and what it printed."""

    returncode: int
    stdout: str
    stderr: str


class Server:
    """A process on the device that has everything imported, and does each task in a fork of it.

    Args:
        library: From `build`.
        folder: For what tasks print.
        tree: The checkout that is imported.
        script: Which imports what is needed, and answers.
    """

    def __init__(
        self, library: Path, folder: Path, *, tree: Path = ROOT, script: Path = HERE / "server.py"
    ) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(script)],
            env=_loaded(library, tree),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tree,
        )

    def do(
        self,
        task: str,
        arguments: object = None,
        *,
        cards: int = 1,
        capability: int = 90,
        gigabytes: float = 80,
        refusal: int = 0,
        **environment: str,
    ) -> Done:
        """Do a task of tasks.py; the cards and variables are those of `start`."""
        out, err = self._folder / "out", self._folder / "err"
        asked = {
            "task": task, "arguments": arguments or {}, "out": str(out), "err": str(err),
            "environment": {**_environment(cards, capability, gigabytes, refusal), **environment},
        }  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return Done(status, out.read_text(), err.read_text())

    def ask(self, task: str, arguments: object = None, **how: Any) -> Any:
        """Return what a task of tasks.py returns."""
        done = self.do(task, arguments, **how)
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def _loaded(library: Path, tree: Path) -> dict[str, str]:
    """Return the environment of a process on the device, whatever hides real cards."""
    path = os.pathsep.join(map(str, (tree, HERE)))
    ours = {"LD_PRELOAD": str(library), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    libraries = [str(library.parent / _NO_NVML), *filter(None, [os.environ.get(_LIBRARIES)])]
    ours[_LIBRARIES] = os.pathsep.join(libraries)
    return {
        name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"
    } | ours


def _environment(cards: int, capability: int, gigabytes: float, refusal: int) -> dict[str, str]:
    return {
        "PRETENDED_CARDS": str(cards),
        "PRETENDED_CAPABILITY": str(capability),
        "PRETENDED_MB": str(round(gigabytes * 1000)),
        "PRETENDED_REFUSAL": str(refusal),
    }


def _headers() -> list[Path]:
    """Return all folders with headers of CUDA: some lack one that another has."""
    site = Path(torch.__file__).parents[1]
    places = [*site.glob("nvidia/*/include"), site / "triton/backends/nvidia/include"]
    return [place for place in places if (place / "cuda_runtime_api.h").exists()]


def _answers(written: str) -> str:
    """Return C for each function that torch links to and `written` does not define."""
    folder = Path(torch.__file__).parent / "lib"
    names: set[str] = set()
    for library in sorted(folder.glob("lib*.so")):
        listed = subprocess.run(
            ["nm", "-D", "--undefined-only", str(library)], capture_output=True, text=True
        ).stdout
        names |= {line.split()[-1].partition("@")[0] for line in listed.splitlines()}
    lines = ["#include <stdio.h>", "int pretended_product(void);"]
    for name in sorted(names):
        ours = _WANTED.match(name) and not _NOT_OURS.match(name) and name not in _SETTLED
        if not ours or re.search(rf"\b{name}\(", written):
            continue
        if not name.startswith("cublas"):
            body = f'fputs("pretended device: {name} is not answered\\n", stderr); return 801;'
        else:
            body = "return pretended_product();" if _PRODUCT.match(name) else "return 0;"
        lines.append(f"int {name}() {{ {body} }}")
    return "\n".join(lines) + "\n"
