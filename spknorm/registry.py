"""Puts this project's tasks and upstreams on s3prl's registries: the one place that touches them.

After `register()`, `s3prl.downstream.emotion_spknorm.expert` is importable like any task of s3prl,
and `s3prl.hub` has the upstreams of `upstream_adapters`. A module has one name and one copy.
"""

import functools
import importlib
import importlib.metadata
import inspect
from pathlib import Path

from spknorm.errors import ConfigError, MissingError

_STOCK_CONFIGS = {"emotion": "er", "voxceleb1": "sid", "fluent_commands": "ic"}
"""s3prl's tasks for which configs/superb holds a file: their own is missing from s3prl's wheel."""


def register() -> None:
    """Add the plugin folders to s3prl; a second call changes nothing.

    Raises:
        MissingError: The plugin folders are not where the installation should have put them.
    """
    importlib.import_module("spknorm.compat")
    root = plugin_root()
    for package, folder in (
        ("s3prl.downstream", "downstream"),
        ("s3prl.upstream", "upstream_adapters"),
    ):
        path = importlib.import_module(package).__path__
        if str(root / folder) not in path:
            path.append(str(root / folder))
    hub = importlib.import_module("s3prl.hub")
    for hubconf in sorted(root.glob("upstream_adapters/*/hubconf.py")):
        module = importlib.import_module(f"s3prl.upstream.{hubconf.parent.name}.hubconf")
        for name, entry in inspect.getmembers(module, inspect.isfunction):
            if not name.startswith("_") and entry.__module__ == module.__name__:
                setattr(hub, name, entry)


@functools.cache
def plugin_root() -> Path:
    """Return the folder that holds downstream/, upstream_adapters/ and configs/.

    It is the checkout, or share/spknorm of the environment that the wheel was installed into.

    Raises:
        MissingError: Neither is there.
    """
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "downstream").is_dir() and (checkout / "upstream_adapters").is_dir():
        return checkout
    for file in importlib.metadata.files("spknorm") or ():
        if file.match("share/spknorm/downstream/*/expert.py"):
            return Path(str(file.locate())).resolve().parents[2]
    raise MissingError(
        f"The task folders of spknorm are neither in {checkout} nor in share/spknorm of this "
        "environment. Install it again: pip install --force-reinstall --no-deps spknorm"
    )


def tasks() -> tuple[str, ...]:
    """Return the names of this project's downstream tasks."""
    return tuple(sorted(p.parent.name for p in plugin_root().glob("downstream/*/expert.py")))


def config_path(task: str) -> Path:
    """Return the default configuration of a task: its own, or that of SUPERB for s3prl's tasks.

    Raises:
        ConfigError: The task has none here; the message says what to do.
    """
    own = plugin_root() / "downstream" / task / "config.yaml"
    superb = plugin_root() / "configs" / "superb" / f"{_STOCK_CONFIGS.get(task, task)}.yaml"
    for path in (own, superb):
        if path.is_file():
            return path
    known = ", ".join(sorted({*tasks(), *_STOCK_CONFIGS}))
    raise ConfigError(
        f"There is no default configuration for the task `{task}` (there is for {known}). "
        "Name one with -c."
    )


def stock_task_of(path: Path) -> str | None:
    """Return the task of s3prl's whose default configuration this file is; None if of none."""
    names = {config_path(task).resolve(): task for task in _STOCK_CONFIGS}
    return names.get(path.resolve())


def shared_configs() -> dict[str, Path]:
    """Return the experiment files that come with the project, by their path below configs/."""
    folder = plugin_root() / "configs"
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.yaml"))}
