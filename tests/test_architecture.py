"""The rules of docs/architecture.md, held against the code itself."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ORDER = [
    "errors", "files", "upstreams.weights", "corpora.known", "schema.marks", "schema", "config",
    "compat", "registry", "batches.shipping", "upstreams", "audio", "corpora.records", "demo",
    "corpora", "protocols", "batches", "method.gradients", "method.adversaries", "method.pooling",
    "method.emotion_heads", "method.objectives", "method.model", "method.optim", "method.updates",
    "method", "upstreams.fast", "features", "statistics.metrics", "statistics", "probe.erasure",
    "probe", "runs", "report.tables", "runs.checkpoint", "runs.resume", "runs.trained", "runner",
    "export", "predict", "probe.audit", "bench", "bench.superb", "report", "controlled", "doctor",
    "cli", "__main__",
]  # fmt: skip
"""A module imports only modules of its own room and of rooms that come before it."""
PLUGINS = [*ROOT.glob("downstream/*/*.py"), *ROOT.glob("upstream_adapters/*/*.py")]
LIBRARY = sorted(ROOT.glob("spknorm/**/*.py"))
CODE = [*LIBRARY, *PLUGINS, ROOT / "run_downstream.py"]


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def nodes_of(path):
    return list(ast.walk(ast.parse(path.read_text())))


def imports_of(path):
    """Modules that a file imports anywhere, `from package import name` resolved to both."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def room_of(module):
    """The place in ORDER of `spknorm.x.y`, by its longest known name; None outside the library."""
    if not module.startswith("spknorm."):
        return None
    parts = module.split(".")[1:]
    for end in range(len(parts), 0, -1):
        if ".".join(parts[:end]) in ORDER:
            return ORDER.index(".".join(parts[:end]))
    return None


def test_every_module_of_the_library_has_its_room():
    rooms = {name_of(path) for path in LIBRARY} - {"spknorm"}
    assert not [module for module in rooms if room_of(module) is None]
    assert all(any(room_of(module) == place for module in rooms) for place in range(len(ORDER)))


def test_imports_point_upwards():
    rooms = {path: room_of(name_of(path)) for path in LIBRARY}
    wrong = {
        (name_of(path), module)
        for path, here in rooms.items()
        for module in imports_of(path)
        if here is not None  # spknorm/__init__.py imports lazily
        and (there := room_of(module)) is not None
        and there > here
    }
    assert wrong == set()


def called_in(path):
    return {
        node.func.id
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def written_in(path, kind, *wanted):
    written = {ast.unparse(node) for node in nodes_of(path) if isinstance(node, kind)}
    return written & {*wanted}


def test_nothing_is_evaluated_or_printed():
    called = {name_of(path): called_in(path) for path in CODE}
    assert [name for name, found in called.items() if found & {"eval", "exec"}] == []
    prints = [name for name, found in called.items() if "print" in found]
    assert [name for name in prints if not name.startswith("spknorm.cli")] == []


def test_nothing_is_loaded_under_a_second_name():
    plugins = re.compile(r"(downstream|upstream_adapters)(\.|$)")
    assert [name_of(path) for path in CODE if any(map(plugins.match, imports_of(path)))] == []


def test_no_pickle_is_loaded_but_weights_alone():
    loads = ("pickle.load", "pickle.loads", "pickle.Unpickler", "joblib.load")
    assert [name_of(path) for path in CODE if written_in(path, ast.Attribute, *loads)] == []
    off = [name_of(path) for path in CODE if written_in(path, ast.keyword, "weights_only=False")]
    assert off == []


def test_the_only_minus_sign_of_the_method_is_in_gradients():
    negated = {
        name_of(path)
        for path in LIBRARY
        for node in nodes_of(path)
        if isinstance(node, ast.UnaryOp)
        and isinstance(node.op, ast.USub)
        and not isinstance(node.operand, ast.Constant)
        and "gradient" in ast.unparse(node.operand).lower()
    }
    assert negated <= {"spknorm.method.gradients"}


def test_the_picture_shows_every_room():
    picture = (ROOT / "docs" / "architecture.md").read_text().split("## Rules")[0]
    words = set(re.findall(r"[a-z_]+", picture))
    assert {room.split(".")[0] for room in ORDER} <= words


def test_importing_the_package_loads_neither_torch_nor_s3prl():
    code = (
        "import sys, spknorm; print([m for m in ('torch', 's3prl', 'numpy') if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert shown.stdout.strip() == "[]"


def test_the_entry_script_is_three_statements():
    body = ast.parse((ROOT / "run_downstream.py").read_text()).body
    statements = [
        node for node in body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]  # fmt: skip
    assert len(statements) == 3


def test_no_file_of_the_library_is_over_300_lines_and_no_more_than_25_names_are_at_its_top():
    long = {name_of(path): len(path.read_text().splitlines()) for path in LIBRARY}
    assert {name: number for name, number in long.items() if number > 300} == {}
    assert len({path.relative_to(ROOT / "spknorm").parts[0] for path in LIBRARY} - {
        "__init__.py", "__main__.py"}) <= 25  # fmt: skip
    assert len([path for path in LIBRARY if path.parent.name == "runner"]) <= 10
