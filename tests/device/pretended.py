"""Builds the pretended CUDA device of pretended.c and starts programs on it.

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
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
_PRODUCT = re.compile(r"cublas(Lt)?\w*(gemm|Gemm|gemv|trsm|dot|Dot|Matmul$|ger|trmm)\w*$")
_WANTED = re.compile(r"^(cuda|cublas|cu)[A-Z]\w*$")
_NOT_OURS = re.compile(r"^cu(File|sparse|solver|fft|rand|dnn|tensor)")
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
    told = {
        "LD_PRELOAD": str(library),
        "PRETENDED_CARDS": str(cards),
        "PRETENDED_CAPABILITY": str(capability),
        "PRETENDED_MB": str(round(gigabytes * 1000)),
        "PRETENDED_REFUSAL": str(refusal),
        "PYTHONPATH": f"{tree}{os.pathsep}{HERE}",
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        cwd=tree,
    )


def ask(library: Path, task: str, arguments: object = None, **how: object) -> Any:
    """Run a function of tasks.py on the device; return what it returns."""
    text = json.dumps({} if arguments is None else arguments)
    done = start(library, str(HERE / "tasks.py"), task, text, **how)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


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
    lines = ["#include <stdio.h>", "void pretended_product(void);"]
    for name in sorted(names):
        ours = _WANTED.match(name) and not _NOT_OURS.match(name) and name not in _SETTLED
        if not ours or re.search(rf"\b{name}\(", written):
            continue
        if not name.startswith("cublas"):
            body = f'fputs("pretended device: {name} is not answered\\n", stderr); return 801;'
        else:
            body = "pretended_product(); return 0;" if _PRODUCT.match(name) else "return 0;"
        lines.append(f"int {name}() {{ {body} }}")
    return "\n".join(lines) + "\n"
