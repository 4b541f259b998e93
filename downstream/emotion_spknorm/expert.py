"""The task `emotion_spknorm` as a DownstreamExpert of s3prl: s3prl's contract and nothing else.

Under s3prl's own Runner each batch mixes emotion and speaker utterances and the update is
`reversal`; spknorm.runner uses the same heads, data and streams for everything else. The corpora
are in spknorm.batches.task, the heads in spknorm.method.model.
"""

import math
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import get_rank, get_world_size, is_initialized
from torch.utils.data import DataLoader

from spknorm import config as configuration
from spknorm.audio import load_audio, read_info
from spknorm.batches import MixedEpoch, Order, Stream
from spknorm.batches.task import (
    crops_of,
    emotion_stream,
    held_out_stream,
    read_task_data,
    speaker_stream,
)
from spknorm.batches.workers import as_it_is, prepare
from spknorm.corpora.digest import summaries
from spknorm.method.model import Heads
from spknorm.method.objectives import class_objective, concordance_objective
from spknorm.method.updates import strength
from spknorm.runs.adversary import gain, judge
from spknorm.runs.metrics_log import append_metrics, write_predictions
from spknorm.runs.result import make_result, write_result
from spknorm.runs.scored import scored
from spknorm.statistics.metrics import classes_of
from spknorm.statistics.targets import Dimensions, target_of

_SECTIONS = ("runner", "optimizer", "scheduler", "specaug", "upstream")


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
        sections = {key: kwargs[key] for key in _SECTIONS if isinstance(kwargs.get(key), dict)}
        self.config = configuration.parse({**sections, "downstream_expert": downstream_expert})
        expert = self.config.downstream_expert
        self.expdir = Path(expdir)
        self.seed = int(kwargs.get("seed", 1337))
        self.fold = expert.datarc.test_fold or kwargs.get("downstream_variant") or "fold1"
        self.data = read_task_data(expert, fold=self.fold, seed=self.seed, work_dir=self.expdir)
        self.frozen = kwargs.get("upstream_trainable") is False
        self.split, self.emotions = self.data.split, self.data.emotions
        self.target = target_of(self.emotions, self.data.emotion.scale)
        self.num_speakers = len(self.data.speakers)

        model, method = expert.modelrc, expert.spknorm
        options = configuration.to_mapping(model)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.heads = Heads(
                upstream_dim,
                num_emotions=len(self.emotions),
                num_speakers=self.num_speakers,
                strategy=method.strategy,
                adversary=method.adversary,
                projector_dim=model.projector_dim,
                select=model.select,
                select_options=options[model.select],
                gate=options["gate"],
                speaker_head=options["speaker_head"],
                objective=concordance_objective
                if isinstance(self.target, Dimensions)
                else class_objective(self.data.emotion.weights),
            )
        self._args = {**kwargs, "expdir": expdir}
        self._begun = False
        self._best: tuple[int, Any] | None = None
        self._speaker: dict[str, float] = {}
        self._started = time.monotonic()
        self.register_buffer("best_score", torch.zeros(1))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.long))
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what another run, whose weights are loaded, has counted and scored."""
        worst = -1.0 if isinstance(self.target, Dimensions) else 0.0  # of CCC, and of accuracies
        self.best_score.fill_(worst)
        self.num_batches.zero_()

    def emotion_stream(self, rank: int = 0, world: int = 1) -> Stream:
        """Return the shuffled training stream of the emotion corpus for one process."""
        data, lengths = self.config.downstream_expert.datarc, None
        if self.config.upstream.bucket:
            lengths = [read_info(utterance.audio).seconds for utterance in self.split.train]
        order = Order(
            len(self.split.train),
            batch_size=data.train_batch_size,
            seed=self.seed,
            rank=rank,
            world=world,
            lengths=lengths,
        )
        return emotion_stream(self.data.emotion, "train", order, pre_load=data.pre_load)

    @property
    def speaker_crops(self) -> str | None:
        """How speaker utterances are cropped, as result.json keeps it; None: there are none."""
        config = self.config.downstream_expert.speaker_corpus
        return crops_of(config, frozen=self.frozen) if self.num_speakers else None

    def speaker_stream(self, rank: int = 0, world: int = 1) -> Stream | None:
        """Return the training stream of the speaker corpus, or None with strategy none."""
        if self.num_speakers == 0:
            return None
        config = self.config.downstream_expert.speaker_corpus
        return speaker_stream(
            self.data, config, frozen=self.frozen, seed=self.seed, rank=rank, world=world
        )

    def held_out_stream(self, rank: int = 0, world: int = 1) -> Stream | None:
        """Return the stream of speaker utterances that are in no training batch, or None."""
        config = self.config.downstream_expert.speaker_corpus
        return held_out_stream(
            self.data, config, frozen=self.frozen, seed=self.seed, rank=rank, world=world
        )

    def eval_stream(self, split: str) -> Stream:
        """Return `dev` or `test` (or `train`) in the corpus' order."""
        data = self.config.downstream_expert.datarc
        utterances = getattr(self.split, split)
        order = Order(len(utterances), batch_size=data.eval_batch_size, shuffle=False)
        return emotion_stream(self.data.emotion, split, order, pre_load=data.pre_load)

    def speakers_of(self, split: str) -> list[str]:
        """Return who speaks each utterance of `dev` or `test`, in its stream's order."""
        return [str(utterance.speaker) for utterance in getattr(self.split, split)]

    # Interface (s3prl's Runner)
    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader[Any]:
        """Return batches of (wavs, emotion labels, speaker labels, ids); label -1: other corpus.

        Args:
            split: train, dev or test.
            epoch: Numbers the training epochs, which decides their order.
        """
        if split == "train":
            rank, world = (get_rank(), get_world_size()) if is_initialized() else (0, 1)
            if not self._begun:
                self._begin(is_leader=rank == 0)
            mixed = MixedEpoch(
                self.emotion_stream(rank, world),
                self.speaker_stream(rank, world),
                epoch,
                accumulate=self.config.runner.gradient_accumulate_steps,
            )
        else:
            mixed = MixedEpoch(self.eval_stream(split), None, 0)
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
        from spknorm.runs.resume import stock  # which s3prl's Runner alone needs

        self._begun = True
        args = Namespace(**self._args)
        if getattr(args, "mode", "train") == "train" and not stock.begin(
            self.expdir, args, self.config, self.data.corpora, is_leader=is_leader
        ):
            self.best_score.zero_()

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
        scores = self.target.score(self.target.count(records["truth"], records["predict"]))
        selected = self.target.selected(scores, self.config.runner.select_by)
        values = {**self.target.logged(scores), "emotion_loss": _mean(records["loss"])}
        for key in ("speaker_loss", "speaker_accuracy"):
            if records.get(key):
                values[key] = _mean(records[key])
        known = gain(values.get("speaker_loss"), math.log(max(1, self.num_speakers)))
        if known is not None:
            self._speaker = {
                "speaker_gain": max(known, self._speaker.get("speaker_gain", known)),
                "speaker_accuracy": values["speaker_accuracy"],
            }
            values["speaker_gain"] = known
        for key, value in values.items():
            short = {"wa": "acc", "emotion_loss": "loss"}.get(key, key)  # s3prl's own names
            logger.add_scalar(f"emotion-{self.fold}/{split}-{short}", value, global_step)
        append_metrics(self.expdir, {"step": global_step, "split": split, **values})
        lines = [f"{split} at step {global_step}: {selected}\n"]
        is_best = split == "dev" and selected > self.best_score.item()
        if is_best:
            self.best_score.fill_(selected)
            self._best = (global_step, scores)
            lines.append(f"New best on {split} at step {global_step}: {selected}\n")
        with (self.expdir / "log.log").open("a") as file:
            file.writelines(lines)
        if split in ("dev", "test"):
            predicted, truth = (self.target.texts(records[key]) for key in ("predict", "truth"))
            write_predictions(self.expdir, split, self.fold, records["ids"], predicted, truth)
        if split == "test" and self._best is not None and self._best[0] == global_step:
            self._write_result(scores, records)
        return [f"{split}-best.ckpt"] if is_best else []

    def _write_result(self, test: Any, records: dict[str, list[Any]]) -> None:
        from spknorm.runs.resume import stock

        assert self._best is not None
        step, dev = self._best
        result = make_result(
            config=self.config,
            args=self._args,
            fold=self.fold,
            steps=self.config.runner.total_steps,
            best_step=step,
            seconds=time.monotonic() - self._started,
            num_speakers=self.num_speakers,
            scored=scored(
                self.target,
                dev=dev,
                test=test,
                truth=records["truth"],
                predicted=records["predict"],
                speakers=self.speakers_of("test"),
            ),
            split=self.data.emotion.splitting,
            final={},
            corpora=summaries(self.data.corpora),
            adversary=judge(
                self.config.downstream_expert.spknorm,
                self._speaker,
                num_speakers=self.num_speakers,
                shuffled=self.config.downstream_expert.speaker_corpus.shuffle_labels,
            ),
            speaker_crops=self.speaker_crops,
            accepted=stock.accepted(self.expdir),
        )
        write_result(self.expdir, result)

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


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
