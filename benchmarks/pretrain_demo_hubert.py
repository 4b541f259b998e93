"""Pre-train the demo's small HuBERT by masked prediction and write its checkpoint and log.

    python benchmarks/pretrain_demo_hubert.py
    python benchmarks/pretrain_demo_hubert.py --layers 6 --width 192 --checkpoint LARGER.pt

The second makes a larger upstream, to see whether what holds on the small one holds there too.

The model is s3prl's own HubertModel (3 layers of 64 unless said otherwise, stride 320); its 150
speakers x 16 utterances come from the demo's generator and occur in no corpus. Targets are two sets
of 100 k-means units, on MFCC and on pitch, voicing and energy. One core; steps, not seconds, decide
when it ends, so that the same command gives the same checkpoint up to the rounding of the machine.
"""

import argparse
import json
import platform
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from acoustics import frame_features
from s3prl.upstream.hubert.hubert_model import HubertConfig, HubertModel, HubertPretrainingConfig
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import spknorm.compat  # noqa: F401
from spknorm.demo import population
from spknorm.demo.synthesis import to_pcm16
from spknorm.files import atomic_path, write_atomic

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "upstream_adapters/demo_hubert/demo_hubert.pt"
NUM_SPEAKERS, NUM_UTTERANCES, NUM_UNITS = 150, 16, 100
TASK = {"label_rate": 50.0, "sample_rate": 16000, "normalize": False, "pad_audio": True}
MODEL: dict[str, Any] = {
    "label_rate": 50.0,
    "extractor_mode": "default",
    "conv_feature_layers": "[(48,20,10), (64,8,4), (64,4,4), (64,2,2)]",
    "conv_bias": False,
    "encoder_layers": 3,
    "encoder_embed_dim": 64,
    "encoder_ffn_embed_dim": 192,
    "encoder_attention_heads": 4,
    "layer_norm_first": False,
    "dropout": 0.05,
    "attention_dropout": 0.05,
    "activation_dropout": 0.0,
    "encoder_layerdrop": 0.0,
    "final_dim": 32,
    "untie_final_proj": True,
    "logit_temp": 0.1,
    "mask_prob": 0.5,
    "mask_length": 5,
    "conv_pos": 32,
    "conv_pos_groups": 8,
    "required_seq_len_multiple": 1,
}


def main() -> None:
    """Pre-train, probe along the way, write the checkpoint and the log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2200)
    parser.add_argument("--batch_size", type=int, default=24)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--layers", type=int, default=MODEL["encoder_layers"])
    parser.add_argument("--width", type=int, default=MODEL["encoder_embed_dim"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--probe_steps", type=int, nargs="*", default=[0, 250, 700, 1400])
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--log", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)  # s3prl draws its masks from numpy's global generator
    began = time.perf_counter()
    waves, units = training_data(args.seed)
    probe = probe_data()
    log: dict[str, Any] = {
        "command": "python benchmarks/pretrain_demo_hubert.py",
        "date": date.today().isoformat(),
        "arguments": {
            name: getattr(args, name) for name in ("steps", "batch_size", "lr", "layers", "width")
        },
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "machine": f"{platform.machine()}, one core",
        "seconds_of_preparation": round(time.perf_counter() - began, 1),
        "losses": [],
        "probes": [],
    }
    MODEL.update(
        encoder_layers=args.layers,
        encoder_embed_dim=args.width,
        encoder_ffn_embed_dim=3 * args.width,
    )
    model = build()
    log["parameters"] = sum(weight.numel() for weight in model.parameters())
    optimizer = torch.optim.AdamW(model.parameters(), args.lr, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min(1.0, (step + 1) / 150)
            * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * min(1.0, step / args.steps))))
        ),
    )
    order = np.random.default_rng(args.seed)
    began, probing = time.perf_counter(), 0.0
    window: list[tuple[float, float, float]] = []
    for step in range(args.steps + 1):
        if step in args.probe_steps or step == args.steps:
            started = time.perf_counter()
            row = {"step": step, "seconds": round(started - began - probing, 1)}
            row |= audit(model, probe)
            probing += time.perf_counter() - started
            log["probes"].append(row)
            print(json.dumps(row), flush=True)
        if step == args.steps:
            break
        index = order.integers(len(waves), size=args.batch_size)
        masked, unmasked, accuracy = losses(model, waves[index], units[:, index])
        optimizer.zero_grad()
        torch.autograd.backward(masked + unmasked)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        window.append((masked.item(), unmasked.item(), accuracy))
        if (step + 1) % 100 == 0:
            names = ("masked_loss", "unmasked_loss", "masked_accuracy")
            means = np.mean(window, axis=0).round(4).tolist()
            row = {"step": step + 1, "seconds": round(time.perf_counter() - began - probing, 1)}
            row |= dict(zip(names, means, strict=True))
            log["losses"].append(row)
            window.clear()
            print(json.dumps(row), flush=True)
    log["seconds_of_training"] = round(time.perf_counter() - began - probing, 1)
    save(model, args.checkpoint)
    log["checkpoint_bytes"] = args.checkpoint.stat().st_size
    path = args.log or ROOT / f"benchmarks/results/{log['date']}-pretrain-demo-hubert.json"
    write_atomic(path, json.dumps(log, indent=1) + "\n")
    print(f"{args.checkpoint} ({log['checkpoint_bytes']} bytes), {path}")


def training_data(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return waves (N, L) and their two sets of units (2, N, T)."""
    samples, spectra, prosody = [], [], []
    for speaker in range(NUM_SPEAKERS):
        for number in range(NUM_UTTERANCES):
            wave = population.speak_neutral(seed, speaker, number, population.PRETRAINING)
            mfcc, log_f0, voicing, energy = frame_features(wave)
            samples.append(as_read(wave))
            spectra.append(mfcc)
            slope = np.clip(np.gradient(log_f0), -0.1, 0.1)
            prosody.append(np.stack([log_f0, slope, voicing, energy], axis=1))
    units = []
    for features in (np.array(spectra), np.array(prosody)):
        flat = StandardScaler().fit_transform(features.reshape(-1, features.shape[-1]))
        if features.shape[-1] == 4:
            flat = flat * np.array([1.5, 1.0, 0.7, 1.0])
        means = MiniBatchKMeans(NUM_UNITS, batch_size=4096, n_init=3, random_state=seed)
        units.append(means.fit_predict(flat).reshape(features.shape[:2]))
    return torch.stack(samples), torch.from_numpy(np.array(units)).long()


def as_read(samples: np.ndarray) -> torch.Tensor:
    """Return a wave (L,) as it is read back from a 16-bit file."""
    return torch.from_numpy(to_pcm16(samples).astype(np.float32) / 32768)


def build() -> HubertModel:
    """Return the untrained model."""
    symbols = [[str(unit) for unit in range(NUM_UNITS)] for _ in range(2)]
    return HubertModel(HubertConfig(**MODEL), HubertPretrainingConfig(**TASK), symbols)


def losses(
    model: HubertModel, waves: torch.Tensor, units: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return the masked and unmasked losses and the masked accuracy of a batch (B, L), (2, B, T).

    HubertModel.forward computes the same cosine logits one class at a time; this is one product.
    """
    features = model.layer_norm(model.forward_features(waves).transpose(1, 2))  # (B, T, C)
    if model.post_extract_proj is not None:
        features = model.post_extract_proj(features)
    padding = torch.zeros(features.shape[:2], dtype=torch.bool)
    hidden, mask = model.apply_mask(features.clone(), padding, None)
    hidden, _ = model.encoder(hidden, padding_mask=None)
    projected = model.final_proj(hidden).chunk(2, dim=-1)  # 2 x (B, T, D)
    classes = model.label_embs_concat.split(model.num_classes, 0)
    masked, unmasked, hits = torch.zeros(()), torch.zeros(()), []
    for one, names, target in zip(projected, classes, units, strict=True):
        logits = F.normalize(one, dim=-1) @ F.normalize(names, dim=-1).T / model.logit_temp
        masked = masked + F.cross_entropy(logits[mask], target[mask])
        unmasked = unmasked + F.cross_entropy(logits[~mask], target[~mask])
        hits.append((logits[mask].argmax(-1) == target[mask]).float().mean().item())
    return masked, unmasked, float(np.mean(hits))


def probe_data() -> dict[str, Any]:
    """Return the waves and labels of a corpus without confounding (seed 0) for the probes."""
    slots = population.emotion_slots(0)
    emotional = [as_read(population.speak_emotion(0, slot, slot.free)) for slot in slots]
    neutral = [
        as_read(population.speak_neutral(0, speaker, number))
        for speaker in range(population.NUM_SPEAKERS)
        for number in range(population.UTTERANCES_PER_SPEAKER)
    ]
    return {"slots": slots, "emotional": torch.stack(emotional), "neutral": torch.stack(neutral)}


def audit(model: HubertModel, probe: dict[str, Any]) -> dict[str, float]:
    """Return linear-probe accuracies: 80 speakers, and emotion on unseen speakers, by feature."""
    model.eval()
    emotional, neutral = (pooled(model, probe[name]) for name in ("emotional", "neutral"))
    model.train()
    speaker = np.repeat(np.arange(population.NUM_SPEAKERS), population.UTTERANCES_PER_SPEAKER)
    number = np.tile(np.arange(population.UTTERANCES_PER_SPEAKER), population.NUM_SPEAKERS)
    train = number < population.UTTERANCES_PER_SPEAKER - population.PROBE_PER_SPEAKER
    slots = probe["slots"]
    session = np.array([slot.speaker // 2 for slot in slots])
    is_test = np.array([slot.is_test for slot in slots])
    emotion = np.array([slot.free for slot in slots])
    row = {}
    for name in emotional:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
        classifier.fit(neutral[name][train], speaker[train])
        row[f"speaker_{name}"] = classifier.score(neutral[name][~train], speaker[~train])
        scores = []
        for fold in sorted(set(session)):
            fit, test = ~is_test & (session != fold), is_test & (session == fold)
            classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
            classifier.fit(emotional[name][fit], emotion[fit])
            scores.append(classifier.score(emotional[name][test], emotion[test]))
        row[f"emotion_{name}"] = float(np.mean(scores))
    return {key: round(float(value), 4) for key, value in row.items()}


@torch.no_grad()
def pooled(model: HubertModel, waves: torch.Tensor) -> dict[str, np.ndarray]:
    """Return features of waves (N, L), pooled over time, by name."""
    rows: dict[str, list[torch.Tensor]] = {"conv": [], "last": [], "sum": []}
    for batch in torch.split(waves, 80):
        conv = model.layer_norm(model.forward_features(batch).transpose(1, 2))
        if model.post_extract_proj is not None:
            conv = model.post_extract_proj(conv)
        last, layers = model.encoder(conv.clone(), padding_mask=None)
        hidden = [conv] + [layer[0].transpose(0, 1) for layer in layers]
        total = torch.stack([F.layer_norm(one, one.shape[-1:]) for one in hidden]).mean(0)
        for name, one in (("conv", conv), ("last", last), ("sum", total)):
            rows[name].append(torch.cat([one.mean(1), one.std(1)], dim=-1))
    return {name: torch.cat(parts).numpy() for name, parts in rows.items()}


def save(model: HubertModel, path: Path) -> None:
    """Write s3prl's converted format with weights of 16 bits (they load as 32)."""
    state = {
        "task_cfg": TASK,
        "model_cfg": MODEL,
        "model_weight": {key: value.half() for key, value in model.state_dict().items()},
        "dictionaries_symbols": [[str(unit) for unit in range(NUM_UNITS)] for _ in range(2)],
    }
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


if __name__ == "__main__":
    main()
