"""Which runs belong together: a method is everything but the place in the grid.

After `results.py` in the report. Runs of one method differ in fold, seed, draw and samples per
label alone. Any other setting that differs between two runs and could matter makes two methods of
them, so that no average mixes two settings in silence.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from spknorm import effects
from spknorm.report.results import Results, Run

_UNSET = "None"
_ORDER = {"none": 0, "SNP": 2, "TAP": 3}
_ERASURES = {"leace": "LEACE erasure", "znorm": "z-norm per speaker"}
PROTOCOLS = {
    "si5": "5-fold, one session held out (speaker-independent)",
    "si10": "10-fold, one speaker held out (speaker-independent)",
    "sd": "random split (speaker-dependent)",
    "low_resource": "few training utterances per label",
}
_PLACE = re.compile(r"(-n\d+-draw\d+)?-fold\d+-seed\d+$")
_DATA, _METHOD = "downstream_expert.datarc.", "downstream_expert.spknorm."
_SHUFFLED = "downstream_expert.speaker_corpus.shuffle_labels"
_FIELDS_OF_METHOD = (
    *(f"{_METHOD}{key}" for key in ("strategy", "update", "adversary", "speaker_lambda")),
    *(f"args.{key}" for key in ("downstream", "upstream", "upstream_trainable")),
    f"{_METHOD}erasure",
    f"{_DATA}protocol",
    _SHUFFLED,
)
"""Settings that `Method` and `Block` have fields for; all others that count are in `extra`."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """What was tried: all settings that runs averaged together share."""

    task: str
    upstream: str
    frozen: bool
    strategy: str
    erasure: str | None = None
    shuffled: bool = False
    update: str | None = None
    adversary: str | None = None
    speaker_lambda: float | None = None
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def is_reference(self) -> bool:
        """Whether this is plain strategy none, which the others are tested against."""
        return self.strategy == "none" and self.erasure is None

    @property
    def upstream_label(self) -> str:
        """The upstream, and whether it was kept frozen."""
        return f"{self.upstream} (frozen)" if self.frozen else self.upstream

    @property
    def label(self) -> str:
        """The method without its upstream: `SNP, reversal, λ 0.3`."""
        parts = [_ERASURES.get(self.erasure, self.erasure) if self.erasure else self.strategy]
        if self.strategy != "none":
            parts = [self.strategy, *([self.update] if self.update else [])]
            if self.adversary not in (None, "ascent"):
                parts.append(f"{self.adversary} loss")
            if self.speaker_lambda is not None:
                parts.append(f"λ {self.speaker_lambda:g}")
        if self.shuffled:
            parts.append("shuffled speaker labels")
        told = [(key, value) for key, value in self.extra if value != _UNSET]
        parts += [f"{key.rpartition('.')[2]} {value}" for key, value in told]
        return ", ".join(parts)

    @property
    def full_label(self) -> str:
        """The label, and whether the upstream was kept frozen."""
        return f"{self.label}, frozen" if self.frozen else self.label

    @property
    def family(self) -> str:
        """What gives the method its colour: none, SNP, TAP, leace, znorm or shuffled."""
        if self.shuffled:
            return "shuffled"
        return self.erasure or self.strategy

    def reference(self) -> "Method":
        """Return the strategy none that this method is to be compared with."""
        extra = tuple(pair for pair in self.extra if not effects.needs_adversary(pair[0]))
        return Method(
            task=self.task, upstream=self.upstream, frozen=self.frozen, strategy="none", extra=extra
        )

    def sort_key(self) -> tuple[Any, ...]:
        """Order of rows: upstream, then none, erasure, SNP, TAP, then lambda."""
        rank = 1 if self.erasure else _ORDER.get(self.strategy, 4)
        return (
            self.task,
            self.upstream,
            self.frozen,
            rank,
            self.strategy,
            self.erasure or "",
            self.shuffled,
            self.update or "",
            self.adversary or "",
            self.speaker_lambda or 0.0,
            self.extra,
        )


@dataclass(frozen=True, kw_only=True)
class Group:
    """The runs of one method under one protocol; `num_planned` is how many there will be."""

    method: Method
    runs: tuple[Run, ...]
    num_planned: int


@dataclass(frozen=True, kw_only=True)
class Block:
    """All groups of one task and protocol: what one table compares."""

    task: str
    protocol: str
    groups: tuple[Group, ...]

    @property
    def title(self) -> str:
        """The protocol in words."""
        return PROTOCOLS.get(self.protocol, self.protocol)


def group_runs(results: Results) -> list[Block]:
    """Sort all runs into blocks and groups, in the order in which tables show them."""
    varying = _varying_settings(results.runs)
    found: dict[tuple[str, str], dict[Method, list[Run]]] = {}
    for run in results.runs:
        block = found.setdefault((run.task, run.protocol), {})
        block.setdefault(method_of(run, varying), []).append(run)
    order = list(PROTOCOLS)
    keys = sorted(
        found, key=lambda key: (key[0], order.index(key[1]) if key[1] in order else 9, key)
    )
    return [
        Block(task=key[0], protocol=key[1], groups=tuple(_groups(found[key], results)))
        for key in keys
    ]


def method_of(run: Run, varying: Iterable[str] = ()) -> Method:
    """Return the method of a run; `varying` names the further settings that tell methods apart."""
    settings = effects.identity(run.config, run.args)
    erasure = settings.get(f"{_METHOD}erasure")
    plain = Method(
        task=run.task,
        upstream=run.upstream,
        frozen=run.frozen,
        strategy=run.strategy,
        erasure=erasure if isinstance(erasure, str) and erasure not in ("none", "") else None,
        shuffled=settings.get(_SHUFFLED) is True,
        extra=tuple((key, _text(settings[key])) for key in varying if key in settings),
    )
    if run.strategy == "none":
        return plain
    return replace(
        plain,
        update=run.update,
        adversary=run.adversary,
        speaker_lambda=None if run.update == "adaptive" else run.speaker_lambda,  # no effect there
    )


def _groups(methods: Mapping[Method, list[Run]], results: Results) -> Iterator[Group]:
    everywhere = {run.position for runs in methods.values() for run in runs}
    for method in sorted(methods, key=Method.sort_key):
        runs = sorted(methods[method], key=lambda run: (run.position, run.folder))
        stems = {_stem(run.folder) for run in runs}
        num_planned = sum(_stem(cell.name) in stems for cell in results.planned)
        if not num_planned:
            num_planned = len(everywhere)
        num_planned = max(num_planned, len(runs))
        yield Group(method=method, runs=tuple(runs), num_planned=num_planned)


def _stem(name: str) -> str:
    """Return the name of a run, as the bench makes it, without its place in the grid."""
    return _PLACE.sub("", name.rpartition("/")[2])


def _varying_settings(runs: Iterable[Run]) -> tuple[str, ...]:
    """Return the settings in which runs differ where they matter."""
    seen: dict[str, set[str]] = {}
    for run in runs:
        for key, value in effects.identity(run.config, run.args).items():
            seen.setdefault(key, set()).add(_text(value))
    return tuple(
        key
        for key, values in sorted(seen.items())
        if len(values) > 1 and key not in _FIELDS_OF_METHOD
    )


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
