"""What speaks against the tables, as sentences: each says what, where and why.

After `scores.py` in the report; the sentences are in words.j2.
"""

from collections.abc import Iterator, Sequence

from spknorm.config import flatten
from spknorm.report.blocks import Block
from spknorm.report.leakage import not_audited
from spknorm.report.words import sentence
from spknorm.runs import Run, Runs


def doubts_of(runs: Runs, blocks: Sequence[Block]) -> list[str]:
    """Return what the runs doubt, what their tables make doubtful, and what their splits leak."""
    found = [*runs.doubts]
    for block in blocks:
        found += [*_idle_adversaries(block), *_corpora(block), *_clipping(block), *_twice(block)]
    if missing := not_audited(blocks):
        found.append(sentence("not-audited", missing=missing))
    return [*dict.fromkeys(found), *_leaks(runs)]


def _leaks(runs: Runs) -> list[str]:
    """Name the runs whose scores are of speakers that their models know."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for run in runs.every:
        for leak in run.result.split.leaks if run.result.split else ():
            key = (run.result.protocol, run.result.fold, leak)
            found.setdefault(key, []).append(run.folder)
    return [sentence("leak", at=at, folders=folders) for at, folders in found.items()]


def _idle_adversaries(block: Block) -> Iterator[str]:
    for one in block.estimates:
        if one.method.mark:
            told = [run.result.adversary for run in one.rows["run"]]
            idle = [each for each in told if each is not None and each.without_effect]
            why = [*dict.fromkeys(text for each in idle[:1] for text in each.doubts)]
            counts = {"num_idle": len(idle), "num_runs": len(told)}
            about = {"method": one.method, "protocol": block.protocol}
            yield sentence("idle", why=why, **counts, **about)


def _corpora(block: Block) -> Iterator[str]:
    """Name the runs that saw another corpus than the other runs of their fold (or of the table)."""
    for role, same in (("emotion", ["fold", "draw", "samples_per_label"]), ("speaker", ["task"])):
        if role == "emotion" and block.protocol == "cross":
            continue  # its rows differ in their corpora, and say so
        key = f"corpora.{role}"
        known = block.rows[block.rows[key].notna()] if key in block.rows else block.rows[:0]
        odd: list[str] = []
        for _, rows in known.groupby(same, dropna=False):
            content = rows[f"{key}.content"]  # files of one size that hold other audio
            usual = [*content.mode(), ""][0]  # runs of earlier versions kept none
            seen = rows[key] + content.fillna(usual)
            odd += [*rows[seen != seen.value_counts(sort=False).idxmax()]["folder"]]
        if odd:
            yield sentence("corpora", protocol=block.protocol, role=role, odd=odd)


def _twice(block: Block) -> Iterator[str]:
    """Name runs of one method, fold and seed: a folder may have been copied into the benchmark."""
    for one in block.estimates:
        for _, rows in one.rows.groupby("place"):
            if len(rows) > 1:
                about = {"method": one.method, "protocol": block.protocol}
                yield sentence("twice", folders=[*rows["folder"]], **about)


def _clipping(block: Block) -> Iterator[str]:
    """Say where the methods of a table do not clip gradients alike, so that two changes compare."""
    found: dict[str | None, list[str]] = {}
    for one in block.estimates:
        for clip in {_clip_of(run) for run in one.rows["run"]} - {None}:
            names = found.setdefault(clip, [])
            names += [one.method.name] * (one.method.name not in names)
    if len(found) > 1:
        yield sentence("clipping", protocol=block.protocol, found=found)


def _clip_of(run: Run) -> str | None:
    """Return how a run clipped, None where it does not say; auto has not always meant the same."""
    config = dict(flatten(run.result.config))
    clip = run.result.clip or config.get("runner.clip")
    if clip != "auto":
        return clip and str(clip)
    if "downstream_expert.spknorm.ascent_clip" in config:
        return "joint" if config.get("runner.engine") == "s3prl" else "stage"
    return "joint" if run.result.strategy == "none" else "group"  # before there was that setting
