"""What s3prl's own Runner does not ask when it goes on with a run: is it still the same one?

Used by the task's expert before that Runner's first step. The Runner writes the checkpoints, so
that the corpora's digests and what was accepted lie beside them, in the experiment's folder; a
frozen upstream that `-i` gave weights of its own is put among what it writes.
"""

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from spknorm.corpora import digest
from spknorm.corpora.digest import CorpusDigest
from spknorm.errors import ConfigError
from spknorm.files import read_json, write_json
from spknorm.runs import checkpoint, state
from spknorm.runs.resume import goes_on
from spknorm.schema import TaskConfig

logger = logging.getLogger(__name__)

_ACCEPTED = "accepted.json"


def begin(
    folder: Path,
    args: argparse.Namespace,
    config: TaskConfig,
    corpora: Mapping[str, CorpusDigest | None],
    *,
    is_leader: bool,
) -> bool:
    """Compare a run with the checkpoint that it goes on from; keep what it sees and accepts.

    Settings given with `-o` beat the checkpoint's, as s3prl has it, and are kept as accepted;
    another corpus has to be accepted by `runner.on_config_change`.

    Args:
        folder: The experiment's.
        args: The command line.
        config: All settings.
        corpora: What the run sees of them, by role.
        is_leader: Whether this process writes the files.

    Returns:
        Whether scores of dev up to here compare with those to come.

    Raises:
        ConfigError: A corpus is another than the run began with.
    """
    path = folder / _ACCEPTED
    changed: dict[str, tuple[Any, Any]] = {}
    if goes_on(args, folder):
        states = checkpoint.read(Path(args.init_ckpt))
        others = digest.changes(digest.read_summaries(folder), corpora, folder)
        if others and config.runner.on_config_change != "accept":
            what = " and ".join(f"another {key.partition('.')[2]} corpus" for key in others)
            raise ConfigError(
                f"The run cannot go on with {what}: {state.describe(others)}. Put it back, start "
                "a new experiment (-n or -p), or add -o config.runner.on_config_change=accept."
            )
        world = states.get("WorldSize", 1)  # s3prl's Runner compares them itself
        changed = state.changed_settings(states, args, config, world=world) | others
        if changed and is_leader:
            logger.warning("The run goes on with what changed: %s.", state.describe(changed))
            found = state.acceptance(states["Step"], changed)
            write_json(path, [one for one in accepted(folder) if one != found] + [found])
    elif is_leader:
        path.unlink(missing_ok=True)
    if is_leader:
        digest.write_rows(folder, corpora)
    return "corpora.emotion" not in changed


def prepare(runner: Any) -> None:
    """Make of `-i` under s3prl's Runner what it is under ours: weights, that checkpoints keep.

    A frozen upstream that it gave weights is written with the rest. For this project's task a
    checkpoint from elsewhere gives neither optimiser nor step nor best score.
    """
    expert = runner.downstream.model
    expert = getattr(expert, "module", expert)
    if hasattr(expert, "begin_anew") and not goes_on(runner.args, Path(runner.args.expdir)):
        for key in ("Optimizer", "Scheduler", "Step", "Epoch", "WorldSize"):
            runner.init_ckpt.pop(key, None)
        expert.begin_anew()
    if runner.init_ckpt.get("Upstream") and not runner.upstream.trainable:
        given = type(runner.upstream)(_Given(runner.upstream.model), "Upstream", True, [])
        runner.all_entries.append(given)


class _Given(nn.Module):
    """A model that is written as if it were trained, and has nothing to train or to switch."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._states_of = model.state_dict  # no submodule: its parameters stay its own

    def state_dict(self, *_: Any, **__: Any) -> Any:
        return self._states_of()


def accepted(folder: Path) -> list[dict[str, Any]]:
    """Return what was accepted in a folder, as result.json keeps it."""
    path = folder / _ACCEPTED
    found: list[dict[str, Any]] = read_json(path) if path.is_file() else []
    return found
