"""The controlled benchmark's claims in a world that is not of this project's making.

Corpora: espeak-ng's voice variants speak, or flite's voices (`independent/voices.py`, Debian's
packages). Upstream:
any model of transformers, frozen; the dated result has Whisper tiny.en's encoder, made by
`independent/whisper.py`. Slots, confounding, folds, heads, rivals and tests are the product's.

    python benchmarks/independent_world.py --upstream FOLDER --folder OUT --out RESULT.json
        [--voices flite]

What was fixed beforehand: docs/independent_world.md and `independent/claims.py`. What OUT holds is
not computed again, so that the command goes on where it was stopped.
"""

import argparse
import datetime
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from independent.claims import CLAIMS, STRENGTHS, as_models
from independent.voices import ENGINES, Engine

from spknorm.controlled import frozen, pool
from spknorm.controlled.pool import Floats, Pool
from spknorm.controlled.rivals.grid import RivalRow, run_grid
from spknorm.controlled.rivals.plan import Plan
from spknorm.controlled.upstream import pool_layers
from spknorm.controlled.verdicts import VariantMeans, judge, summarise
from spknorm.demo import population
from spknorm.demo.synthesis import FloatArray
from spknorm.errors import ConfigError
from spknorm.files import atomic_path, read_json, write_atomic, write_json
from spknorm.runs.result import versions
from spknorm.upstreams.hugging_face.upstream import TransformersUpstream

PROSODY, WANTED = (1.0, 0.5, 1.5), (0.45, 0.75)
"""Strength of the emotions: the first, unless `none` without confounding is outside these bounds on
a corpus that is not reported; above them the second, below them the third."""
SELECTION_SEED, FIRST_SEED, NUM_FOLDS, RHO = 0, 500, 1, (0.9, 0.0)
COLUMNS = ("method", "labels", "rho", "seed", "fold", "unseen", "leakage")


def features_of(upstream: TransformersUpstream, waves: Iterator[FloatArray]) -> Floats:
    """Return (N, D): each utterance by itself, so that none is averaged over padding."""
    return np.concatenate([pool_layers(upstream, [wave]) for wave in waves])


def claim_folder(folder: Path, upstream: str, voices: str) -> None:
    """Note whose features a folder holds, and of whose voices.

    Raises:
        ConfigError: Those of another upstream or of other voices.
    """
    path = folder / "upstream.json"
    mine = {"upstream": str(Path(upstream).resolve()), "voices": voices}
    there = {"voices": "espeak-ng", **read_json(path)} if path.is_file() else mine
    if there != mine:
        raise ConfigError(
            f"{folder} holds features of {there['upstream']}, voices of {there['voices']}: "
            "name another --folder."
        )
    write_json(path, mine)


def choose_prosody(
    upstream: TransformersUpstream, engine: Engine, folder: Path
) -> dict[str, float]:
    """Return the strength of the emotions, and what `none` reaches with the first one at rho 0."""
    path = folder / "prosody.json"
    if not path.is_file():
        reached = _unconfounded(upstream, engine, PROSODY[0])
        place = 1 if reached > WANTED[1] else 2 if reached < WANTED[0] else 0
        write_json(path, {"strength": PROSODY[place], "reached": reached})
    found: dict[str, float] = read_json(path)
    return found


def _unconfounded(upstream: TransformersUpstream, engine: Engine, strength: float) -> float:
    """Return the accuracy of `none` on unseen speakers at rho 0, on the selection's corpus."""
    seed, scores = SELECTION_SEED, []
    features = _emotional(upstream, engine, seed, strength, (0.0,))
    for fold in range(NUM_FOLDS):
        train, test = pool.training_rows(seed, 0.0, fold), pool.test_rows(seed, fold)
        known, unseen = features[train.row], features[test.row]
        mean, deviation = known.mean(0), known.std(0) + 1e-6
        known, unseen = (known - mean) / deviation, (unseen - mean) / deviation
        nobody = frozen.Data(known, train.emotion, known[:1], np.zeros(1, np.int64))
        model = frozen.train(nobody, frozen.Settings(), strategy="none", seed=seed)
        scores.append(np.mean(model.predict(unseen) == test.emotion))
    return float(np.mean(scores))


def _emotional(
    upstream: TransformersUpstream,
    engine: Engine,
    seed: int,
    strength: float,
    rhos: Sequence[float],
) -> Floats:
    """Return (N, D) of a corpus: what is trained on and tested; zeros where nobody looks."""
    parts = [pool.training_rows(seed, rho, fold) for rho in rhos for fold in range(NUM_FOLDS)]
    parts += [pool.test_rows(seed, fold) for fold in range(NUM_FOLDS)]
    heard = np.unique(np.concatenate([part.row for part in parts]))
    known = features_of(upstream, engine.emotional_waves(seed, strength, heard.tolist()))
    found = np.zeros((len(pool.utterances_of(seed)), known.shape[1]), dtype=np.float32)
    found[heard] = known
    return found


def speak_all(
    upstream: TransformersUpstream, engine: Engine, folder: Path, plan: Plan, strength: float
) -> None:
    """Keep the features of every corpus where the grid looks for them."""
    for seed in plan.seeds:
        path = pool.features_file(folder, seed)
        if not path.is_file():
            neutral = [
                _neutral(upstream, engine, folder, place)
                for place in engine.cast_of(seed)[population.NUM_EMOTION_SPEAKERS :]
            ]
            emotional = _emotional(upstream, engine, seed, strength, RHO)
            pool.keep_pool(Pool(seed, emotional, np.concatenate(neutral)), path)
            print(f"corpus {seed} has been spoken", flush=True)


def _neutral(upstream: TransformersUpstream, engine: Engine, folder: Path, place: int) -> Floats:
    """Return (16, D) of a speaker, which says the same in every speaker corpus."""
    path = folder / "variants" / f"{place}.npy"
    if not path.is_file():
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, features_of(upstream, engine.neutral_waves(place)))
    found: Floats = np.load(path, allow_pickle=False)
    return found


def main() -> None:
    """Choose prosody's strength, speak, train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upstream", required=True, help="folder of transformers")
    parser.add_argument("--voices", choices=[*ENGINES], default="espeak-ng", help="who speaks")
    parser.add_argument("--folder", type=Path, required=True, help="for features and rows")
    parser.add_argument("--corpora", type=int, default=8, help="how many are reported")
    parser.add_argument("--out", type=Path, required=True, help="result file")
    options = parser.parse_args()
    upstream, engine = TransformersUpstream(options.upstream).eval(), ENGINES[options.voices]
    claim_folder(options.folder, options.upstream, engine.name)
    prosody = choose_prosody(upstream, engine, options.folder)
    plan = Plan(
        name="independent-world",
        rivals=tuple(STRENGTHS),
        rho=RHO,
        first_seed=FIRST_SEED,
        num_seeds=options.corpora,
        num_folds=NUM_FOLDS,
    )
    speak_all(upstream, engine, options.folder, plan, prosody["strength"])
    _, rows = run_grid(
        plan,
        options.folder,
        workers=1,
        progress=lambda done, total: print(f"{done} of {total}", flush=True),
        chosen=dict(STRENGTHS),
    )
    write_atomic(options.out, _record(rows, prosody, upstream, engine))


def _record(
    rows: list[RivalRow],
    prosody: dict[str, float],
    upstream: TransformersUpstream,
    engine: Engine,
) -> str:
    """Return the result file, and print what it says."""
    models = as_models(rows)
    verdicts, means = judge(models, CLAIMS), summarise(models)
    for one in verdicts:
        print(f"{one.name} {one.claim}: {100 * one.difference:+.1f} {one.verdict}")
    head: dict[str, Any] = {
        "command": f"python benchmarks/independent_world.py --voices {engine.name}",
        "date": str(datetime.datetime.now(datetime.UTC).date()),
        "versions": versions(),
        "upstream": {
            name: getattr(upstream.model.config, name)
            for name in ("model_type", "d_model", "encoder_layers", "max_source_positions")
            if hasattr(upstream.model.config, name)
        },
        "prosody": prosody,
        "strengths": STRENGTHS,
        "verdicts": [one._asdict() for one in verdicts],
        "means": [_told(one) for one in means],
        "row_columns": list(COLUMNS),
    }
    text = json.dumps(head, indent=1, sort_keys=True)
    listed = ",\n".join(
        json.dumps([_short(getattr(row, name)) for name in COLUMNS]) for row in models
    )
    return f'{text[:-2]},\n "rows": [\n{listed}\n]}}\n'


def _told(one: VariantMeans) -> dict[str, Any]:
    """Return the means of a variant, without those of seen speakers, which are not tested."""
    fields = {**one._asdict(), "variant": one.variant._asdict()}
    return {name: value for name, value in fields.items() if name != "seen"}


def _short(value: object) -> object:
    return round(value, 5) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
