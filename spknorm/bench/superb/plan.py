"""The experiment file of a SUPERB-style table: s3prl's tasks x frozen upstreams.

name: superb
kind: superb
corpora: given                     # or demo: the generated ones
tasks:
  - {name: ER, task: emotion, variant: fold1}
  - {name: SID, task: voxceleb1, config: {runner: {total_steps: 50000}}}
upstreams:
  - {name: raw, upstream: hubert_large_ll60k}
  - {name: TAP, experiment: result/iemocap/hubert_large_ll60k-TAP-si5-fold1-seed1337}
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from spknorm import config
from spknorm.bench.cells import QUICK
from spknorm.errors import ConfigError, MissingError
from spknorm.schema.marks import NOT_NEGATIVE

_DEAD = {
    "speech_commands": "the package catalyst (not declared by s3prl)",
    "sv_voxceleb1": "the package sox, the program of that name, and sox's effect silence, which "
    "torchaudio no longer has",
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task of s3prl."""

    name: str
    """Column of the table: ER, SID, IC."""
    task: str
    """s3prl's name: emotion, voxceleb1, fluent_commands, ..."""
    variant: str | None = None
    """s3prl's -v; for emotion the test fold, which must be the one that the upstreams held out."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """What differs from configs/superb."""


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A row of the table: an upstream of s3prl's hub, or what an experiment trained."""

    name: str
    upstream: str | None = None
    ckpt: str | None = None
    experiment: str | None = None
    """Folder of a finished experiment; its dev-best upstream is exported first."""


@dataclass(frozen=True, kw_only=True)
class SuperbExperiment:
    """The whole file."""

    name: str = "superb"
    kind: Literal["superb"] = "superb"
    corpora: Literal["given", "demo"] = "given"
    """given: IEMOCAP_ROOT, VOXCELEB1_ROOT, FLUENT_COMMANDS_ROOT. demo: generated ones."""
    tasks: tuple[Task, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    selection: str = "hidden_states"
    """s3prl's -s; SUPERB weights all hidden states."""
    seed: Annotated[int, NOT_NEGATIVE] = 1337


def read_plan(path: Path, *, quick: bool = False) -> SuperbExperiment:
    """Return the checked experiment file; `quick` has 20 steps of every task, to see if it works.

    Raises:
        ConfigError: An unknown key, a task that cannot run today, a row without an upstream.
        MissingError: No such file, or an experiment that is not there.
    """
    content = config.load_yaml(path)
    tasks = tuple(_task(entry, quick) for entry in _list(content, "tasks"))
    upstreams = tuple(_upstream(entry) for entry in _list(content, "upstreams"))
    rest = {key: value for key, value in content.items() if key not in ("tasks", "upstreams")}
    plan = config.build(SuperbExperiment, rest, path=str(path))
    for names in ([one.name for one in tasks], [one.name for one in upstreams]):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"{path}: the name `{twice}` occurs twice.")
    return replace(plan, tasks=tasks, upstreams=upstreams)


def _list(content: Mapping[str, Any], key: str) -> list[Any]:
    value = content.get(key)
    if not isinstance(value, list) or not value:
        raise ConfigError(f"`{key}` must be a list of at least one.")
    return value


def _task(entry: Any, quick: bool) -> Task:
    task = config.build(Task, entry, path="tasks")
    if task.task in _DEAD:
        raise ConfigError(f"s3prl's task {task.task} does not run: it needs {_DEAD[task.task]}.")
    if not quick:
        return task
    return replace(task, config=config.merge(task.config, {"runner": QUICK}))


def _upstream(entry: Any) -> Upstream:
    upstream = config.build(Upstream, entry, path="upstreams")
    if (upstream.upstream is None) == (upstream.experiment is None):
        raise ConfigError(
            f"The row `{upstream.name}` needs either `upstream`, a name of s3prl's hub, "
            "or `experiment`, a folder."
        )
    if upstream.experiment is not None and not Path(upstream.experiment).is_dir():
        raise MissingError(
            f"The row `{upstream.name}` is of the experiment {upstream.experiment}, "
            "which is not there. Run it first."
        )
    return upstream
