"""Which runs belong together, and what a colleague would call them.

First in the report. A method is everything but the place in the grid: runs of one method differ in
fold, seed, draw and samples per label alone. Any other setting that changes numbers and differs
between two runs makes two methods of them, so that no average mixes two settings in silence; its
name says the setting only where a shorter name would be that of another method, too.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from spknorm.config import effects
from spknorm.errors import first_of
from spknorm.report.tables import RowKind
from spknorm.report.words import sentence
from spknorm.runs import Run, Runs, frame
from spknorm.runs.scored import TestScores

if TYPE_CHECKING:
    from pandas import DataFrame

_ORDER = {"none": 0, "SNP": 2, "TAP": 3}
_ERASURES = {"leace": "LEACE erasure", "znorm": "z-norm per speaker"}
_PLACE = re.compile(r"(-n\d+-draw\d+)?-fold\d+-seed\d+$")
_EXPERT = "downstream_expert."
_METHOD = f"{_EXPERT}spknorm."
_ERASURE, _LOSS = f"{_METHOD}erasure", f"{_METHOD}adversary"
_SHUFFLED = f"{_EXPERT}speaker_corpus.shuffle_labels"
_PREDICTED = "predicts"
"""Not a setting but what comes of some: other lists have other classes under the same ones."""
_CORPORA = (
    *(f"{_EXPERT}datarc.{key}" for key in ("corpus", "train_with", "test_on")),
    _PREDICTED,
)
_FIELDS = (
    *(f"{_METHOD}{key}" for key in ("strategy", "update", "adversary", "speaker_lambda")),
    *(f"args.{key}" for key in ("downstream", "upstream", "upstream_trainable")),
    *(_ERASURE, _SHUFFLED, f"{_EXPERT}datarc.protocol"),
)
"""Settings that are fields of a method, or of the block it stands in."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """What was tried: all settings that runs averaged together share.

    Attributes:
        extra: Further settings that differ between some runs of the folder: (key, value) texts.
        name: Without the upstream: `SNP, frozen`.
        mark: What must not be overlooked where the name stands, such as ` (no effect)`.
    """

    task: str
    upstream: str
    frozen: bool
    strategy: str
    erasure: str | None = None
    shuffled: bool = False
    adapters: bool = False
    update: str | None = None
    adversary: str | None = None
    speaker_lambda: float | None = None
    extra: tuple[tuple[str, str], ...] = ()
    name: str = field(default="", compare=False)
    mark: str = field(default="", compare=False)

    @property
    def is_reference(self) -> bool:
        """Whether this is plain strategy none, which the others are tested against."""
        return self.strategy == "none" and self.erasure is None

    @property
    def label(self) -> str:
        """The name with its mark, as it stands in tables and figures."""
        return self.name + self.mark

    @property
    def family(self) -> str:
        """What gives the method its colour: none, SNP, TAP, leace, znorm or shuffled."""
        return "shuffled" if self.shuffled else self.erasure or self.strategy

    @property
    def row_kind(self) -> RowKind:
        """What its row is in a table: controls stand in grey."""
        return "control" if self.shuffled else "ours"

    def reference(self) -> "Method":
        """Return the strategy none that this method is to be compared with."""
        extra = tuple(pair for pair in self.extra if not effects.needs_adversary(pair[0]))
        off: Any = dict.fromkeys(("erasure", "update", "adversary", "speaker_lambda"))
        return replace(self, strategy="none", shuffled=False, extra=extra, **off)

    def sort_key(self) -> tuple[Any, ...]:
        """Order of rows: upstream, then none, erasure, SNP, TAP, then lambda."""
        rank = 1 if self.erasure else _ORDER.get(self.strategy, 4)
        words = (self.update or "", self.adversary or "", self.speaker_lambda or 0.0, self.extra)
        kind = (rank, self.strategy, self.erasure or "", self.shuffled)
        return (self.task, self.upstream, self.frozen, *kind, *words)


def with_methods(runs: Runs) -> "DataFrame":
    """Return the frame of a folder's runs with their `run` and their `method`, names and all.

    What differs under one protocol tells methods apart under all, so that they are the same there.
    """
    table = frame(runs)
    settings = _identities(runs)
    blocks = [table[key].rename(None) for key in ("task", "protocol")]
    differs = _texts(settings).groupby(blocks).nunique() > 1
    shared = differs.copy()
    shared.loc[differs.index.get_level_values(1) == "cross", differs.columns.isin(_CORPORA)] = False
    shared = shared.groupby(level=0).any()
    methods = []
    for run, values in zip(runs.runs, settings, strict=True):
        own = differs.loc[run.result.task, run.result.protocol] | shared.loc[run.result.task]
        methods.append(_method(run, values, sorted({*own.index[own]} - {*_FIELDS})))
    names = _names(sorted(set(methods), key=Method.sort_key))
    marks = {method: _mark(method, runs.runs, methods) for method in names}
    table["run"] = [*runs.runs]
    table["method"] = [replace(one, name=names[one], mark=marks[one]) for one in methods]
    return table


def names_of_cross(methods: Iterable[Method]) -> dict[Method, str]:
    """Return the methods' labels under the protocol cross, where corpora stand in columns."""
    reduced = {
        one: replace(one, extra=tuple(pair for pair in one.extra if pair[0] not in _CORPORA))
        for one in methods
    }
    names = _names(sorted(set(reduced.values()), key=Method.sort_key))
    return {one: names[short] + one.mark for one, short in reduced.items()}


def protocols_note(runs: Runs) -> str:
    """Return which settings differ between protocols alone, so that no name tells them."""
    if not runs.runs:
        return ""
    texts = _texts(_identities(runs))
    texts = texts.groupby([run.result.protocol for run in runs.runs], sort=False)
    alone, first = (texts.nunique() == 1).all(), texts.first()
    keys = [key for key in first if alone[key] and first[key].nunique() > 1 and key not in _FIELDS]
    told = {key.rpartition(".")[2]: dict(first[key]) for key in keys}
    return sentence("between-protocols", told=told) if told else ""


def num_planned(rows: "DataFrame", runs: Runs, num_positions: int) -> int:
    """Return how many runs of a method there will be under one protocol."""
    stems = {_stem(name) for name in rows["folder"]}
    planned = sum(_stem(cell.name) in stems for cell in runs.planned)
    return max(planned or num_positions, len(rows))


def settings_note(methods: Sequence[Method]) -> str:
    """Return what the names leave out: settings of the adversary, and those that differ."""
    told: dict[str, dict[str, list[Method]]] = {}
    keys = _short_keys(key for one in methods for key, _ in one.extra)
    for method in methods:
        strength = None if method.speaker_lambda is None else f"{method.speaker_lambda:g}"
        said = {"update": method.update, "loss": method.adversary, "λ": strength}
        said |= {keys[key]: value for key, value in method.extra}
        for key, value in said.items():
            if value is not None:
                told.setdefault(key, {}).setdefault(value, []).append(method)
    if [*told.get("loss", ())] == ["ascent"]:
        del told["loss"]
    whose = {
        key: {value: _whose(users, methods) for value, users in values.items()}
        for key, values in told.items()
    }
    return sentence("settings", told=whose) if whose else ""


def _identities(runs: Runs) -> list[dict[str, Any]]:
    found = effects.identities((run.result.config, run.result.args) for run in runs.runs)
    for run, values in zip(runs.runs, found, strict=True):
        one = run.result.test or run.result.dimensions
        assert one is not None  # a run without is not read
        values[_PREDICTED] = "/".join(one.classes if isinstance(one, TestScores) else one.names)
    return found


def _texts(settings: Iterable[dict[str, Any]]) -> "DataFrame":
    """Return settings as texts, a row per run; what a run does not have is missing."""
    import pandas as pd

    return pd.DataFrame([{key: _text(value) for key, value in one.items()} for one in settings])


def _method(run: Run, settings: dict[str, Any], varying: Sequence[str]) -> Method:
    result, erasure, loss = run.result, settings.get(_ERASURE), settings.get(_LOSS)
    on = result.strategy != "none"
    return Method(
        task=result.task,
        upstream=result.upstream,
        frozen=result.frozen,
        strategy=result.strategy,
        adapters=bool(settings.get("upstream.lora.rank")),
        erasure=erasure if isinstance(erasure, str) and erasure not in ("none", "") else None,
        extra=tuple((key, _text(settings[key])) for key in varying if key in settings),
        shuffled=on and settings.get(_SHUFFLED) is True,
        update=result.update if on else None,
        adversary=loss if on and isinstance(loss, str) else None,
        speaker_lambda=result.speaker_lambda if on and result.update != "adaptive" else None,
    )


def _names(methods: Sequence[Method]) -> dict[Method, str]:
    """Return each method's name: the shortest that no other method of its upstream has."""
    names: dict[Method, str] = {}
    for upstream in dict.fromkeys((one.task, one.upstream) for one in methods):
        rivals = [one for one in methods if (one.task, one.upstream) == upstream]
        for method in rivals:
            alike = [one for one in rivals if _base(one) == _base(method)]
            parts = [*_base(method), *_told_apart(method, alike)]
            names[method] = ", ".join([*parts, *(["frozen"] if method.frozen else [])])
        for method in rivals:  # texts from files may still coincide
            same = [one for one in rivals if names[one] == names[method]]
            for number, twin in enumerate(same[1:], start=2):
                names[twin] += f", no. {number}"
    return names


def _base(method: Method) -> tuple[str, ...]:
    """Return the parts of a name that are said whatever the other rows are; frozen comes last."""
    erasure = method.erasure or ""
    name = _ERASURES.get(erasure, erasure) or method.strategy
    parts = [f"{name} in LoRA" if method.adapters else name]
    idle = method.strategy != "none" and method.speaker_lambda == 0
    other = method.adversary not in (None, "ascent")
    parts += ["λ 0"] if idle else [f"{method.adversary} loss"] if other else []
    parts += ["shuffled speakers"] if method.shuffled else []
    return (*parts,)


def _told_apart(method: Method, rivals: Sequence[Method]) -> list[str]:
    """Return the parts of a name that tell it from methods of the same base name."""
    alike = [one for one in rivals if one.frozen == method.frozen]
    parts = []
    if method.update and len({one.update for one in alike}) > 1:
        parts.append(method.update)
    if method.speaker_lambda and len({one.speaker_lambda for one in alike}) > 1:
        parts.append(f"λ {_text(method.speaker_lambda)}")
    keys = _short_keys(key for one in alike for key, _ in one.extra)
    for key, value in method.extra:
        if len({dict(one.extra).get(key) for one in alike}) > 1 and value != "None":
            parts.append(f"{keys[key]} {value}")
    return parts


def _short_keys(keys: Iterable[str]) -> dict[str, str]:
    """Return for each dotted key the shortest end of it that no other key has."""
    known = {f".{key}" for key in keys}
    found = {}
    for key in known:
        places = [at for at, letter in enumerate(key) if letter == "."]
        unique = (at for at in reversed(places) if sum(o.endswith(key[at:]) for o in known) == 1)
        found[key[1:]] = key[next(unique, 0) + 1 :]
    return found


def _mark(method: Method, runs: Sequence[Run], methods: Sequence[Method]) -> str:
    """Return ` (no effect)` where the adversary was measured and did nothing."""
    if method.strategy == "none":
        return ""
    own = [run.result.adversary for run, one in zip(runs, methods, strict=True) if one == method]
    idle = sum(one is not None and one.without_effect for one in own)
    some = f" (no effect in {idle} of {len(own)} runs)" if idle else ""
    return " (no effect)" if idle == len(own) else some


def _whose(users: Sequence[Method], methods: Sequence[Method]) -> str:
    for name, frozen in (("frozen", True), ("fine-tuned", False)):
        if {*users} == {one for one in methods if one.frozen is frozen}:
            return name
    return first_of([*dict.fromkeys(one.name for one in users)], 4, between=" / ")


def _stem(name: str) -> str:
    """Return the name of a run, as the bench makes it, without its place in the grid."""
    return _PLACE.sub("", name.rpartition("/")[2])


def _text(value: Any) -> str:
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)
