"""Whole runs that take a second: corpora of tones, a random HuBERT, our runner or s3prl's.

Run as a script it trains one run of `settings_of` in a process of its own:
`python tests/tiny_runs.py FOLDER UPSTREAM CORPORA '{"strategy": ..., "total_steps": ...}'`.
"""

import argparse
import contextlib
import copy
import functools
import json
import sys
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from spknorm import config, registry

FLAGS = {
    "mode": "train", "evaluate_split": "test", "override": None, "backend": "nccl",
    "local_rank": None, "past_exp": None, "init_ckpt": None, "config": None,
    "downstream": "emotion_spknorm", "downstream_variant": None, "hub": "torch",
    "upstream": "hubert_local", "upstream_model_config": None, "upstream_refresh": False,
    "upstream_trainable": True, "upstream_feature_selection": "last_hidden_state",
    "upstream_layer_selection": None, "upstream_feature_normalize": False,
    "upstream_model_name": "model.pt", "upstream_revision": None, "expname": None,
    "auto_resume": False, "push_to_hf_hub": False, "hf_hub_org": None, "seed": 1337,
    "device": "cpu", "cache_dir": None, "verbose": False, "disable_cudnn": False,
}  # fmt: skip


def make_corpora(folder):
    """Write a small IEMOCAP (with s3prl's folds) and VoxCeleb1; return the folder."""
    from stock_trees import make_iemocap, make_voxceleb1

    make_iemocap(folder / "iemocap")
    make_voxceleb1(folder / "voxceleb1")
    return folder


def make_rated(folder):
    """Write tones with sentences, dimensions, speakers of eight, and an odd scale; a manifest."""
    import numpy as np
    import soundfile

    lines = ["path,emotion,speaker,session,arousal,valence,dominance,sentence"]
    for number in range(64):
        speaker = number % 8
        value = 1 + (number // 8) % 7
        tone = np.sin(np.arange(4800) * (0.05 + 0.02 * value + 0.001 * speaker)) / 4
        soundfile.write(folder / f"{number:02d}.wav", tone, 16000)
        emotion = ("neu", "hap", "ang", "sad")[value % 4]
        lines.append(
            f"{number:02d}.wav,{emotion},s{speaker},Session{speaker % 5 + 1},"
            f"{value},{8 - value},{value / 2 + 1:.1f},text{number % 3}"
        )
    file = folder / "rated.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


@functools.cache
def _defaults():
    """The task's own settings, read once: runs that are compared share them, whatever is edited."""
    return config.load_yaml(registry.config_path("emotion_spknorm"))


def settings_of(
    corpora, *, strategy="TAP", update="literal", method=None, expert=None, other=None, **runner
):
    """Return a configuration: `runner` settings by name, and changes to the other sections."""
    changes = {
        "runner": {
            "total_steps": 6, "gradient_accumulate_steps": 1, "log_step": 1,
            "eval_step": 2, "save_step": 2, "early_stopping": None, **runner,
        },
        "upstream": {"cache": "off"},
        "downstream_expert": {
            "datarc": {
                "root": str(corpora / "iemocap"), "num_workers": 0, "train_batch_size": 4,
            },
            "speaker_corpus": {
                "root": str(corpora / "voxceleb1"), "max_seconds": 0.2, "batch_size": 4,
                "micro_batch_size": None,
            },
            "modelrc": {"projector_dim": 8, "speaker_head": {"hidden": [8], "batch_norm": False}},
            # Of six steps none is left out: an untrained head stands above a ceiling of 1.
            "spknorm": {
                "strategy": strategy, "update": update, "speaker_lambda": 1.0e-3,
                "speaker_pretrain_steps": 0, "ceiling": None, **(method or {}),
            },
        },
    }  # fmt: skip
    task = config.merge(_defaults(), changes)
    task = config.merge(task, {"downstream_expert": expert or {}})
    return config.merge(task, other or {})


def make_runner(ckpt, mapping, expdir, *, runner=None, **flags):
    """Return a Runner (ours by default) of a run in `expdir`, or of the fork that is asked for."""
    registry.register()
    from spknorm.runner import SpknormRunner
    from spknorm.runs.resume.fork import follow_fork

    Path(expdir).mkdir(parents=True, exist_ok=True)
    args = argparse.Namespace(**{**FLAGS, "upstream_ckpt": ckpt and str(ckpt), **flags})
    args.expdir = str(expdir)
    if runner is None:
        follow_fork(args, mapping)
    return (runner or SpknormRunner)(args, copy.deepcopy(mapping))


@contextlib.contextmanager
def not_read_back():
    """Spare checkpoints to be read as soon as they are written, a fifth of a tiny run.

    That it is done, and what comes of it, is in test_checkpoint.py.
    """
    from spknorm.runs import checkpoint

    read = checkpoint.read

    def spared(path, **options):
        return {} if path.suffix == ".tmp" else read(path, **options)

    with mock.patch.object(checkpoint, "read", spared):
        yield


def train(ckpt, mapping, expdir, *, resume=False, reads_back=False, **flags):
    """Train a run, or go on with it where its newest checkpoint stands; return its runner.

    With `reads_back` each checkpoint is read as soon as it is written, as a user's is.
    """
    from spknorm.config.launcher import place
    from spknorm.runs import checkpoint
    from spknorm.runs.resume import held

    holding = contextlib.nullcontext() if place().rank else held(Path(expdir))
    with holding, contextlib.nullcontext() if reads_back else not_read_back():
        if resume and checkpoint.existing(Path(expdir)):
            flags["init_ckpt"] = str(checkpoint.latest(Path(expdir))[0])
        trained = make_runner(ckpt, mapping, expdir, **flags)
        trained.train()
    return trained


def weights_of(expdir):
    """Return every tensor of an experiment's newest checkpoint by name."""
    from spknorm.runs import checkpoint

    _, states = checkpoint.latest(Path(expdir))
    return {
        f"{part}.{name}": tensor
        for part in ("Upstream", "Featurizer", "Downstream")
        for name, tensor in states.get(part, {}).items()
    }


def outcome_of(expdir):
    """Return all that must be the same after an interruption: metrics and result, as bytes."""
    result = json.loads((Path(expdir) / "result.json").read_text())
    del result["seconds"]
    predictions = {p.name: p.read_bytes() for p in sorted(Path(expdir).glob("*_fold1_*.txt"))}
    metrics = (Path(expdir) / "metrics.jsonl").read_bytes()
    return metrics, json.dumps(result, sort_keys=True), predictions


def main() -> int:
    """Train one run in this process; see the top of this file."""
    from spknorm.errors import USER_ERRORS

    folder, upstream, corpora, options = sys.argv[1:5]
    flags = json.loads(sys.argv[5]) if len(sys.argv) > 5 else {}
    mapping = settings_of(Path(corpora), **json.loads(options))
    try:
        train(upstream, mapping, folder, resume=True, reads_back=True, **flags)
    except USER_ERRORS as error:
        sys.stderr.write(f"spknorm: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
