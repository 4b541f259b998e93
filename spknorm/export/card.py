"""The model card of an export: what it was trained on, how, what was measured, what it is not.

Every number in it stands in result.json or probe.json; where there is no file, it says so. The
text is card.md.j2.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spknorm.corpora.known import CORPORA
from spknorm.errors import DataError
from spknorm.export.exportable import Exportable
from spknorm.report.tables import Show, filled, percent, span
from spknorm.runs.probes import HEADS, Audit, ProbeRow, lines_of
from spknorm.statistics import interval
from spknorm.statistics.agreement import CCC
from spknorm.statistics.metrics import METRICS


def model_card(run: Exportable) -> str:
    """Return the card as Markdown with the front matter that model hubs read."""
    result, config = run.trained.result, run.provenance["config"]["downstream_expert"]
    card = filled(
        "export/card.md.j2",
        one=run,
        strategy=result.get("strategy", "unknown"),
        settings=_settings(result, config)
        | {"original upstream, SHA-256": run.provenance["upstream_sha256"]},
        scores=_scores(result),
        leakage=_leakage(run.probe),
        licences=_licences(result, config),
    )
    return f"{card}\n"


def _settings(result: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    data = config.get("datarc", {})
    split, speakers = result.get("split") or {}, config.get("speaker_corpus", {})
    adversary = result.get("strategy", "none") != "none"
    return {
        "emotion corpus": data.get("corpus", "iemocap"),
        "speaker corpus": speakers.get("corpus", "voxceleb1") if adversary else None,
        "label normalised away": speakers.get("label", "speaker") if adversary else None,
        "speakers in training": result.get("num_speakers") if adversary else None,
        "protocol": result.get("protocol"),
        "folds": split.get("title"),
        "leaks": "; ".join(split.get("leaks") or ()) or None,
        "test fold": result.get("fold"),
        "strategy": result.get("strategy"),
        "update": result.get("update") if adversary else None,
        "speaker_lambda": result.get("speaker_lambda") if adversary else None,
        "upstream frozen": result.get("frozen"),
        "convolutional front end trained": result.get("train_feature_extractor"),
        "seed": result.get("seed"),
        "steps (best on dev)": f"{result.get('steps')} ({result.get('best_step')})",
    }


def _scores(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows of the results: of classes, of dimensions, or none."""
    test, dev, dimensions = result.get("test"), result.get("dev"), result.get("dimensions") or {}
    found: dict[str, Any] = {"kind": "none", "rows": []}
    if dimensions.get("test"):
        test, dev = dimensions["test"], dimensions.get("dev")
        of_dev = dev["ccc"] if dev else {}
        for name in dimensions["names"]:
            of_name = {who: sums[name] for who, sums in test["by_speaker"].items()}
            around = _interval(of_name, CCC, "{:.3f}".format)
            shown = [f"{side[name]:.3f}" if side else "-" for side in (test["ccc"], of_dev)]
            found["rows"].append((name, shown[0], around, shown[1]))
        found |= {"kind": "dimensions", "scale": "{low:g} to {high:g}".format(**dimensions)}
    elif test:
        for key, metric in METRICS.items():
            around = _interval(test["by_speaker"], key)
            shown = [percent(side[key]) if side else "-" for side in (test, dev)]
            found["rows"].append((f"{metric.name} (%)", shown[0], around, shown[1]))
        found["kind"] = "classes"
    return found | ({"n": test["n"], "num_speakers": len(test["by_speaker"])} if test else {})


def _interval(by_speaker: Mapping[str, Any], metric: str, show: Show = percent) -> str:
    try:
        _, low, high = interval(by_speaker, metric)
    except DataError:
        count = len(by_speaker)
        return f"no interval ({count} speaker{'' if count == 1 else 's'})"
    return span(low, high, show)


def _leakage(probe: Audit) -> dict[str, Any]:
    """Return the rows of the probes: a line per probe and control, a column per upstream."""
    raw, off, own = "as it came", "adversary off", "this upstream"
    named = [(raw if row.stage == "raw" else own, row) for row in probe.rows]
    named += [(off, row) for row in probe.adversary_off if probe.rows]
    found = lines_of(named)
    told = {name for line in found for name in line.cells}
    columns = [name for name in (raw, off, own) if name in told]
    lines = []
    for line in found:
        scores = [_probed(line.cells.get(name)) for name in columns]
        size = str(next(iter(line.cells.values()))[-1].n)
        lines.append((*line.heads, *scores, line.chance, size))
    return {
        "columns": [*HEADS, *columns, "chance", "n"],
        "rows": lines,
        "trained": next((row for row in probe.rows if row.stage != "raw"), None),
        "has_off": off in told,
    }


def _probed(rows: Sequence[ProbeRow] | None) -> str:
    return f"{percent(rows[-1].accuracy)} [{span(rows[-1].low, rows[-1].high)}]" if rows else "-"


def _licences(result: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    corpora = [config.get("datarc", {}).get("corpus", "iemocap")]
    if result.get("strategy", "none") != "none":
        corpora.append(config.get("speaker_corpus", {}).get("corpus", "voxceleb1"))
    known = (CORPORA[name] for name in dict.fromkeys(corpora) if name in CORPORA)
    yield from (f"{one.title}: {one.licence}" for one in known)
