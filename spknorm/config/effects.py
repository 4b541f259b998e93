"""What tells two runs apart: their settings by path, compared by the effect that each one states.

After `parse`. Resume, bench, audit and report ask here whether a setting matters; the answer
is at the setting's field in schema/, or in `ARGUMENTS` for what s3prl's command line decides.
"""

import functools
import math
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from spknorm.config import flatten, to_mapping
from spknorm.schema import TaskConfig, resolved_dev
from spknorm.schema.marks import LENGTH, NOTHING, NUMBERS, REPEAT, STRATEGY, Effect, When

_UPSTREAM = (
    *("upstream", "upstream_ckpt", "upstream_model_config", "upstream_trainable"),
    *("upstream_feature_selection", "upstream_layer_selection", "upstream_feature_normalize"),
    *("upstream_model_name", "upstream_revision", "hub", "initial_weights"),
)
ARGUMENTS = MappingProxyType(
    {
        **dict.fromkeys(("downstream", *_UPSTREAM), NUMBERS),
        "upstream_digest": NOTHING,
        "seed": REPEAT,
        "device": NOTHING,
    }
)
"""Effects of what the command line decides about a run's numbers; the path is `args.<name>`.
Another device computes the same but for rounding. `initial_weights` is what `-i` gave a new run;
`upstream_digest` is compared with what lies there, not between runs (`weights.check_weights`)."""
_OF_HUB = ("upstream_model_name", "upstream_revision")
FOLD = "fold"
_DATA = "downstream_expert.datarc."
_TEST_FOLD, _DEV = f"{_DATA}test_fold", f"{_DATA}dev"


Run = tuple[TaskConfig | Mapping[str, Any], Mapping[str, Any]]
"""A run's configuration and its command line, as dataclass or as a result file has them."""


class Setting(NamedTuple):
    """What the schema says of one setting.

    It matters where all its conditions hold; the default is a plain value.
    """

    effect: Effect
    conditions: tuple[When, ...]
    default: Any


@functools.cache
def settings() -> Mapping[str, Setting]:
    """Return every setting of the task by its path, such as `optimizer.groups.gate.lr`."""
    return MappingProxyType(dict(_of_class(TaskConfig, "", ())))


def flat(config: TaskConfig | Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain value of every setting by its path.

    Of a mapping, such as a result file's of another version, what it leaves out has its default,
    and what the schema does not know is kept.
    """
    known, found = settings(), dict(flatten(to_mapping(config)))
    for path in [path for path, value in found.items() if value is None and path not in known]:
        del found[path]  # a section that is null is one of defaults
    prefixes = {path[: at + 1] for path in found for at, mark in enumerate(path) if mark == "."}
    missing = {path: one.default for path, one in known.items() if f"{path}." not in prefixes}
    defaults = dict(flatten({path: one for path, one in missing.items() if path not in found}))
    values = {**defaults, **found}
    about = {name: str(values[f"{_DATA}{name}"]) for name in ("protocol", "base", "corpus")}
    values[_DEV] = resolved_dev(str(values[_DEV]), **about)  # auto is what it comes to
    plain = ((path, list(one) if isinstance(one, tuple) else one) for path, one in values.items())
    return dict(sorted(plain))


def flat_run(
    config: TaskConfig | Mapping[str, Any], args: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return `flat(config)` and what the command line decided, as `args.<name>`.

    The test fold, which either may name, is under `FOLD` alone.
    """
    values, given = flat(config), args or {}
    fold = values.pop(_TEST_FOLD) or given.get("downstream_variant") or "fold1"
    told = {path: given.get(path.removeprefix("args.")) for path in _told()}
    if given.get("hub") != "huggingface":  # s3prl gives them a value that nothing asks for
        told |= {f"args.{name}": None for name in _OF_HUB}
    return {**values, **told, FOLD: fold}


def effect_of(path: str) -> Effect:
    """Return the effect of a setting or argument; what nobody knows counts as numbers."""
    if path == FOLD:
        return REPEAT
    if path.startswith("args."):
        return ARGUMENTS.get(path.removeprefix("args."), NUMBERS)
    setting = _setting(path)
    return NUMBERS if setting is None else setting.effect


def needs_adversary(path: str) -> bool:
    """Whether a setting matters only with some strategy other than none (or an eraser's)."""
    setting = _setting(path)
    return setting is not None and any(STRATEGY in when.alternatives for when in setting.conditions)


def identity(
    config: TaskConfig | Mapping[str, Any], args: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what decides a run's method: two runs repeat one another if it is equal.

    Settings without effect, those whose condition does not hold (lambda under strategy none), and
    those in which repetitions differ (fold, seed, draw) are not in it. The one exception is
    `samples_per_label`: it counts as a repetition here, and as a point of a curve in a report.
    """
    return _that(flat_run(config, args), {NUMBERS, LENGTH})


def identities(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Return the runs' identities, to be compared key by key.

    An item that only some runs give, of a section whose items are free (a scheduler, the options of
    a head), is None in those that have the section without it.
    """
    found = [identity(*run) for run in runs]
    known = settings()
    free = {path for values in found for path in values if path not in known} - {*_told()}
    for values in found:
        own = {_known_part(path) for path in values}
        for path in free - values.keys():
            if (part := _known_part(path)) is None or part in own:
                values[path] = None
    return found


def differing(before: Run, now: Run, *, going_on: bool = False) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ and change numbers: (before, now) by path.

    A setting whose condition holds on neither side does not count, nor does the length where the
    second is `going_on` with the first.
    """
    effects = {NUMBERS, REPEAT} if going_on else {NUMBERS, REPEAT, LENGTH}
    sides = [flat_run(*side) for side in (before, now)]
    counted = {path for side in sides for path in _that(side, effects)}
    pairs = {path: (sides[0].get(path), sides[1].get(path)) for path in sorted(counted)}
    return {path: pair for path, pair in pairs.items() if not _same(*pair)}


def _that(values: Mapping[str, Any], effects: set[Effect]) -> dict[str, Any]:
    return {
        path: value
        for path, value in values.items()
        if effect_of(path) in effects
        and (
            (setting := _setting(path)) is None or all(w.holds(values) for w in setting.conditions)
        )
    }


def _setting(path: str) -> Setting | None:
    """Return the setting at a path, or the free mapping that it is an item of."""
    part = _known_part(path)
    return None if part is None else settings()[part]


def _known_part(path: str) -> str | None:
    """Return the path itself if it is a setting's, or that of the free mapping around it."""
    known = settings()
    while path not in known and "." in path:
        path = path.rpartition(".")[0]
    return path if path in known else None


def _told() -> Iterator[str]:
    """Yield the paths of what the command line decided."""
    return (f"args.{name}" for name in ARGUMENTS)


def _of_class(kind: type, prefix: str, around: tuple[When, ...]) -> Iterator[tuple[str, Setting]]:
    default = kind()
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        marks = getattr(hint, "__metadata__", ())
        conditions = (*around, *(mark for mark in marks if isinstance(mark, When)))
        options = (hint, *typing.get_args(hint))
        held = [one for option in options for one in (option, *typing.get_args(option))]
        section = next((o for o in held if isinstance(o, type) and is_dataclass(o)), None)
        if section is not None:
            yield from _of_class(section, f"{prefix}{name}.", conditions)
            continue
        effects = [mark for mark in marks if isinstance(mark, Effect)]
        assert len(effects) == 1, f"{kind.__name__}.{name} must state its effect once"
        yield prefix + name, Setting(effects[0], conditions, to_mapping(getattr(default, name)))


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same; 1 and 1.0 are, and so are floats but for their last bits."""
    numbers = (int, float)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, numbers) and isinstance(other, numbers):
        return math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)
