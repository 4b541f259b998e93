"""The task `emotion_spknorm` as a DownstreamExpert of s3prl: s3prl's contract and nothing else.

Under s3prl's own Runner each batch mixes emotion and speaker utterances and the update is
`reversal`; spknorm.runner uses the same heads, data and streams for everything else. The corpora
are in spknorm.batches.task, the heads in spknorm.method.model.
"""

from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from spknorm import config as configuration
from spknorm.audio import load_audio
from spknorm.batches import MixedEpoch
from spknorm.batches.streams import Streams
from spknorm.batches.task import read_task_data
from spknorm.batches.workers import as_it_is, prepare
from spknorm.method.model import make_heads
from spknorm.method.objectives import class_objective, concordance_objective
from spknorm.method.optim.world import rank_and_size
from spknorm.method.updates import strength
from spknorm.runs.resume import stock
from spknorm.statistics.metrics import classes_of
from spknorm.statistics.targets import Dimensions, target_of


class DownstreamExpert(nn.Module):
    """Emotion recognition with the speaker normalised away.

    Args:
        upstream_dim: H of the upstream's features.
        upstream_rate: Samples per frame; not needed here.
        downstream_expert: The section of that name; see spknorm.schema.ExpertConfig.
        expdir: The experiment's folder.
        kwargs: The other sections of the configuration and s3prl's command line, as its Runner
            passes them.

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
        sections = {**kwargs, "downstream_expert": downstream_expert}
        self.config = configuration.parse(configuration.sections(sections))
        expert = self.config.downstream_expert
        self.expdir = Path(expdir)
        self.seed = int(kwargs.get("seed", 1337))
        self.fold = expert.datarc.test_fold or kwargs.get("downstream_variant") or "fold1"
        self.data = read_task_data(expert, fold=self.fold, seed=self.seed, work_dir=self.expdir)
        self._frozen = kwargs.get("upstream_trainable") is False
        self.split, self.emotions = self.data.split, self.data.emotions
        self.target = target_of(self.emotions, self.data.emotion.scale)
        self.num_speakers = len(self.data.speakers)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.heads = make_heads(
                expert,
                upstream_dim,
                num_emotions=len(self.emotions),
                num_speakers=self.num_speakers,
                objective=concordance_objective
                if isinstance(self.target, Dimensions)
                else class_objective(self.data.emotion.weights),
            )
        self._args = {**kwargs, "expdir": expdir}
        self._begun = False
        self._log = stock.StockLog(self.expdir, self, self._args)
        self.register_buffer("best_score", torch.zeros(1))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.long))
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what another run, whose weights are loaded, has counted and scored."""
        self._forget_best()
        self.num_batches.zero_()

    def _forget_best(self) -> None:
        """Let any score be the best so far: of accuracies, or of CCCs."""
        self.best_score.fill_(-1.0 if isinstance(self.target, Dimensions) else 0.0)

    @property
    def streams(self) -> Streams:
        """Where batches come from, by the settings of now; the runner adds the upstream's."""
        return Streams(self.data, self.config, seed=self.seed, frozen=self._frozen)

    def speakers_of(self, split: str) -> list[str | None]:
        """Return who speaks each utterance of `dev` or `test`, in its stream's order."""
        return [utterance.speaker for utterance in getattr(self.split, split)]

    # Interface (s3prl's Runner)
    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader[Any]:
        """Return batches of (wavs, emotion labels, speaker labels, ids); label -1: other corpus.

        Args:
            split: train, dev or test.
            epoch: Numbers the training epochs, which decides their order.
        """
        if split == "train":
            rank, world = rank_and_size()
            if not self._begun:
                self._begin(is_leader=rank == 0)
            mixed = MixedEpoch(
                self.streams.emotion(rank, world),
                self.streams.speaker(rank, world),
                epoch,
                accumulate=self.config.runner.gradient_accumulate_steps,
            )
        else:
            mixed = MixedEpoch(self.streams.evaluation(split), None, 0)
        workers = self.config.downstream_expert.datarc.num_workers
        return DataLoader(
            mixed,
            batch_size=None,
            collate_fn=as_it_is,
            num_workers=workers,
            worker_init_fn=prepare,
            generator=torch.Generator(),
        )

    def _begin(self, *, is_leader: bool) -> None:
        """Look, before the first step, whether the run that goes on is still the same."""
        self._begun = True
        args = Namespace(**self._args)
        if getattr(args, "mode", "train") == "train" and not stock.begin(
            self.expdir, args, self.config, self.data.corpora, is_leader=is_leader
        ):
            self._forget_best()

    # Interface (s3prl's Runner)
    def forward(
        self,
        split: str,
        features: list[Tensor],
        emotion_labels: list[Any],
        speaker_labels: list[int],
        ids: list[str],
        records: dict[str, list[Any]],
        **kwargs: Any,
    ) -> Tensor:
        """Return the loss of a mixed batch: l_er, plus l_id behind the reversed gradient.

        Args:
            split: train, dev or test.
            features: B tensors (T_i, H).
            emotion_labels: Class index, votes or dimensions; -1 for a speaker utterance.
            speaker_labels: Speaker index, -1 for an emotion utterance.
            ids: Utterance names.
            records: Takes what `log_records` needs.
            kwargs: Ignored (batch_id).
        """
        device = features[0].device
        emotion = [index for index, label in enumerate(emotion_labels) if label != -1]
        labels = torch.tensor([emotion_labels[index] for index in emotion], device=device)
        prediction = self.heads.emotion([features[index] for index in emotion], labels)
        loss = prediction.loss
        records["loss"].append(loss.item())
        records["ids"] += [ids[index] for index in emotion]
        named = [ids[index] for index in emotion]
        classes_of(prediction.logits, named)  # refuses what is not finite
        records["predict"] += self.target.guesses(prediction.logits.detach()).tolist()
        records["truth"] += self.target.truths([emotion_labels[index] for index in emotion])
        if split != "train" or self.num_speakers == 0:
            return loss
        coefficient = self._coefficient()
        self.num_batches += 1
        speaker = [index for index, label in enumerate(speaker_labels) if label >= 0]
        if not speaker:  # a batch smaller than the number of its pieces
            return loss
        identities = torch.tensor([speaker_labels[index] for index in speaker], device=device)
        other = self.heads.speaker(
            [features[index] for index in speaker], identities, coefficient=coefficient
        )
        records["speaker_loss"].append(other.loss.item())
        records["speaker_accuracy"] += (other.logits.argmax(dim=-1) == identities).tolist()
        return loss + other.loss

    def _coefficient(self) -> float:
        method, runner = self.config.downstream_expert.spknorm, self.config.runner
        step = int(self.num_batches) // runner.gradient_accumulate_steps
        return method.speaker_lambda * strength(method, step=step, total_steps=runner.total_steps)

    # Interface (s3prl's Runner)
    def log_records(
        self,
        split: str,
        records: dict[str, list[Any]],
        logger: Any,
        global_step: int,
        **kwargs: Any,
    ) -> list[str]:
        """Log the split's means; return `dev-best.ckpt` when dev's accuracy is the best so far.

        Writes what s3prl's emotion task writes, metrics.jsonl, and result.json when the test set
        is evaluated at the best dev step.
        """
        is_best = self._log.write(split, records, logger, global_step)
        return [f"{split}-best.ckpt"] if is_best else []

    # Interface (s3prl's Runner, -m inference)
    def load_audio(self, path: str | Path) -> Tensor:
        """Return the audio of any file as (L,) at 16 kHz."""
        return torch.from_numpy(load_audio(Path(path)))

    # Interface (s3prl's Runner, -m inference)
    def inference(self, features: list[Tensor], names: list[str]) -> list[str]:
        """Return the emotion of each utterance and write it to inference.txt in the folder."""
        logits = self.heads.emotion_logits(features)
        classes_of(logits, names)  # refuses what is not finite
        emotions = self.target.texts(self.target.guesses(logits).tolist())
        lines = [f"{name} {emotion}\n" for name, emotion in zip(names, emotions, strict=True)]
        with (self.expdir / "inference.txt").open("a") as file:
            file.writelines(lines)
        return emotions
