"""Experiment folders as training leaves them, made in milliseconds from a random upstream."""

import argparse
import json
from pathlib import Path

import torch
import yaml


def make_trained(
    folder: Path,
    upstream_file: Path | None,
    *,
    strategy: str = "TAP",
    frozen: bool = False,
    selection: str = "last_hidden_state",
    modelrc: dict | None = None,
    datarc: dict | None = None,
    speaker_corpus: dict | None = None,
    layer_selection: int | None = None,
    normalize: bool = False,
    result: bool = True,
    upstream: str = "hubert_local",
    method: dict | None = None,
    num_states: int = 3,
) -> Path:
    """Write dev-best.ckpt and result.json of a run on `upstream_file`; its weights were moved."""
    from s3prl.downstream.runner import hub

    from spknorm import config as configuration
    from spknorm import registry
    from spknorm.method.model import Heads
    from spknorm.runs.result import RESULT_SCHEMA

    torch.manual_seed(("none", "SNP", "TAP").index(strategy))
    registry.register()
    entry, upstream = upstream, getattr(hub, upstream)(ckpt=upstream_file and str(upstream_file))
    with torch.no_grad():
        for parameter in upstream.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    task = configuration.to_mapping(
        configuration.parse(
            {
                "downstream_expert": {
                    "datarc": {"corpus": "demo", **(datarc or {})},
                    "speaker_corpus": {"corpus": "demo", **(speaker_corpus or {})},
                    "modelrc": {"projector_dim": 8, **(modelrc or {})},
                    "spknorm": {"strategy": strategy, **(method or {})},
                }
            }
        )
    )
    model = task["downstream_expert"]["modelrc"]
    dim = 32
    heads = Heads(
        dim,
        num_emotions=4,
        num_speakers=5,
        strategy=strategy,
        projector_dim=model["projector_dim"],
        select=model["select"],
        select_options=model[model["select"]],
        gate=model["gate"],
        speaker_head=model["speaker_head"],
    )
    if heads.gate is not None:
        for parameter in heads.gate.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    args = {
        "downstream": "emotion_spknorm",
        "downstream_variant": None,
        "upstream": entry,
        "upstream_ckpt": upstream_file and str(upstream_file),
        "upstream_model_config": None,
        "upstream_trainable": not frozen,
        "upstream_feature_selection": selection,
        "upstream_layer_selection": layer_selection,
        "upstream_feature_normalize": normalize,
        "seed": 7,
        "device": "cpu",
        "expdir": str(folder),
    }
    state = {
        "Optimizer": {},
        "Step": 40,
        "Epoch": 1,
        "Args": argparse.Namespace(**args),
        "Config": task,
        "Featurizer": {"weights": torch.tensor([0.3, -1.0, 0.5, 0.1, -0.2, 0.4][:num_states])}
        if selection == "hidden_states" and layer_selection is None
        else {},
        "Downstream": {f"heads.{name}": value for name, value in heads.state_dict().items()},
    }
    if not frozen:
        state["Upstream"] = upstream.state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "dev-best.ckpt")
    (folder / "config_1.yaml").write_text(yaml.safe_dump(task))
    if result:
        tables = {"s1": [[3, 1, 0, 0], [0, 4, 0, 0], [1, 0, 3, 0], [0, 0, 0, 4]]}
        tables["s2"] = [[2, 2, 0, 0], [1, 3, 0, 0], [1, 1, 2, 0], [0, 0, 0, 4]]
        total = [
            [sum(rows) for rows in zip(*lines, strict=True)]
            for lines in zip(*tables.values(), strict=True)
        ]
        scores = {"wa": 25 / 32, "ua": 25 / 32, "macro_f1": 0.77, "n": 32}
        content = {
            "schema": RESULT_SCHEMA,
            "task": "emotion_spknorm",
            "upstream": entry,
            "strategy": strategy,
            "update": "literal",
            "adversary": "ascent",
            "speaker_lambda": 0.001,
            "protocol": "si5",
            "fold": "fold1",
            "seed": 7,
            "frozen": frozen,
            "train_feature_extractor": False,
            "steps": 50,
            "best_step": 40,
            "num_speakers": 5,
            "dev": scores,
            "test": {
                **scores,
                "classes": ["neu", "hap", "ang", "sad"],
                "confusion": total,
                "by_speaker": tables,
            },
            "config": task,
            "args": args,
        }
        (folder / "result.json").write_text(json.dumps(content))
    return folder


def trained_upstream(expdir: Path, upstream_file: Path):
    """Return the upstream of a run as training left it, put together as s3prl's Runner would."""
    from s3prl import hub

    from spknorm.runs.trained import read_checkpoint

    upstream = hub.hubert_local(ckpt=str(upstream_file))
    upstream.load_state_dict(read_checkpoint(expdir)["Upstream"])
    return upstream.eval()
