"""The task `speaker_probe` as a DownstreamExpert of s3prl: s3prl's contract and nothing else.

It is s3prl's voxceleb1 with the corpus, the label and the number of classes taken from the
configuration. The corpus is read and split in spknorm.probe.corpus.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from s3prl.downstream.model import UtteranceLevel
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Subset

from spknorm.audio import load_audio
from spknorm.batches import Order, Recordings, Stream
from spknorm.batches.workers import prepare
from spknorm.config import build
from spknorm.files import write_atomic
from spknorm.method.optim.world import rank_and_size
from spknorm.probe.corpus import ProbeConfig, read_labelled
from spknorm.statistics.metrics import classes_of


class DownstreamExpert(nn.Module):
    """Names the speaker (or another label) of an utterance.

    Args:
        upstream_dim: H of the upstream's features.
        upstream_rate: Samples per frame; not needed here.
        downstream_expert: The section of that name; see spknorm.probe.corpus.ProbeConfig.
        expdir: The experiment's folder.
        kwargs: The other sections of the configuration and s3prl's command line.

    Raises:
        ConfigError, MissingError, DataError: Before anything is trained; see spknorm.errors.
    """

    def __init__(
        self,
        upstream_dim: int,
        upstream_rate: int,
        downstream_expert: dict[str, Any],
        expdir: str,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        config = build(ProbeConfig, downstream_expert, path="config.downstream_expert")
        self.config, self.expdir = config, Path(expdir)
        self.seed = int(kwargs.get("seed", 1337))
        self.split = read_labelled(
            config.speaker_corpus, config.datarc, seed=self.seed, work_dir=self.expdir
        )
        projector_dim = config.modelrc.projector_dim
        self.projector = nn.Linear(upstream_dim, projector_dim)
        self.model = UtteranceLevel(
            input_dim=projector_dim,
            output_dim=len(self.split.names),
            **config.modelrc.UtteranceLevel,
        )
        self.objective = nn.CrossEntropyLoss()
        self.register_buffer("best_score", torch.zeros(1))

    # Interface (s3prl's Runner)
    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader[Any]:
        """Return batches of (wavs, label indices, names); crops and order change with the epoch."""
        corpus, data = self.config.speaker_corpus, self.config.datarc
        utterances = getattr(self.split, split)
        labels = torch.from_numpy(self.split.labels(split))
        training = split == "train"
        if training and corpus.shuffle_labels:
            order = torch.Generator().manual_seed(self.seed)
            labels = labels[torch.randperm(len(labels), generator=order)]
        rank, world = rank_and_size() if training else (0, 1)
        stream = Stream(
            Recordings(
                utterances,
                labels.tolist(),
                max_seconds=corpus.max_seconds if training else None,
                seed=self.seed,
            ),
            Order(
                len(utterances),
                batch_size=corpus.batch_size if training else data.eval_batch_size,
                seed=self.seed,
                shuffle=training,
                rank=rank,
                world=world,
            ),
        )
        size = len(stream.order)
        return DataLoader(
            Subset(stream, range(epoch * size, (epoch + 1) * size)),
            batch_size=None,
            collate_fn=_as_s3prl_has_it,
            worker_init_fn=prepare,
            num_workers=data.num_workers,
            generator=torch.Generator(),
        )

    # Interface (s3prl's Runner)
    def forward(
        self,
        split: str,
        features: list[Tensor],
        labels: list[int],
        names: list[str],
        records: dict[str, list[Any]],
        **kwargs: Any,
    ) -> Tensor:
        """Return the cross-entropy of a batch; s3prl's contract.

        Args:
            split: `train`, `dev` or `test`.
            features: B x (T_i, H).
            labels: (B,) speaker indices.
            names: Of the B utterances.
            records: Extended by what `log_records` averages and writes.
            kwargs: Not used.
        """
        logits = self._logits(features)
        truth = torch.tensor(labels, device=logits.device)
        loss: Tensor = self.objective(logits, truth)
        predicted = classes_of(logits, names)
        records["acc"] += (predicted == np.array(labels)).astype(float).tolist()
        records["loss"].append(loss.item())
        records["filename"] += [name.replace("/", "-") for name in names]  # as s3prl writes them
        records["predict_speaker"] += [self.split.names[index] for index in predicted.tolist()]
        records["truth_speaker"] += [self.split.names[index] for index in labels]
        return loss

    def _logits(self, features: list[Tensor]) -> Tensor:
        lengths = torch.tensor([len(frames) for frames in features], dtype=torch.int32)
        padded = pad_sequence(features, batch_first=True)  # (B, T, H)
        logits: Tensor = self.model(self.projector(padded), lengths.to(padded.device))[0]
        return logits

    # Interface (s3prl's Runner)
    def log_records(
        self,
        split: str,
        records: dict[str, list[Any]],
        logger: Any,
        global_step: int,
        **kwargs: Any,
    ) -> list[str]:
        """Log the split's means; return `dev-best.ckpt` when dev's accuracy is the best so far."""
        names = []
        means = {key: sum(records[key]) / len(records[key]) for key in ("acc", "loss")}
        with (self.expdir / "log.log").open("a") as file:
            for key, value in means.items():
                logger.add_scalar(f"speaker_probe/{split}-{key}", value, global_step=global_step)
            file.write(f"{split} at step {global_step}: {means['acc']}\n")
            if split == "dev" and means["acc"] > self.best_score.item():
                self.best_score.fill_(means["acc"])
                file.write(f"New best on {split} at step {global_step}: {means['acc']}\n")
                names.append(f"{split}-best.ckpt")
        if split in ("dev", "test"):
            for kind in ("predict", "truth"):
                pairs = zip(records["filename"], records[f"{kind}_speaker"], strict=True)
                lines = [f"{name} {speaker}\n" for name, speaker in pairs]
                write_atomic(self.expdir / f"{split}_{kind}.txt", "".join(lines))
        return names

    # Interface (s3prl's Runner, -m inference)
    def load_audio(self, path: str | Path) -> Tensor:
        """Return the audio of any file as (L,) at 16 kHz."""
        return torch.from_numpy(load_audio(Path(path)))

    # Interface (s3prl's Runner, -m inference)
    def inference(self, features: list[Tensor], names: list[str]) -> list[str]:
        """Return the speaker of each utterance and write it to inference.txt in the folder."""
        speakers = [self.split.names[i] for i in classes_of(self._logits(features), names)]
        with (self.expdir / "inference.txt").open("a") as file:
            pairs = zip(names, speakers, strict=True)
            file.writelines(f"{name} {speaker}\n" for name, speaker in pairs)
        return speakers


def _as_s3prl_has_it(batch: Any) -> tuple[list[Any], list[int], list[str]]:
    return batch.wavs, batch.labels, batch.ids
