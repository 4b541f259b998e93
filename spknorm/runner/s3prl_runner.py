"""s3prl's Runner as far as it builds an experiment and predicts with it; `engine.py` trains.

s3prl builds upstream, featurizer and expert, each by a method of its own that calls `_init_model`.
"""

import argparse
import logging
import textwrap
from pathlib import Path
from typing import Any

from s3prl.downstream.runner import ModelEntry, Runner
from torch import nn

from spknorm import config as configuration
from spknorm.batches import Stream
from spknorm.batches.seeds import seeded
from spknorm.errors import CheckpointError, ConfigError, MissingError, is_out_of_memory
from spknorm.method.optim.precision import evaluation_precision
from spknorm.method.optim.world import World
from spknorm.runner import setup
from spknorm.runs import checkpoint
from spknorm.runs.evaluation import Evaluation, evaluate
from spknorm.runs.instrument import Start
from spknorm.runs.outcome import Outcome
from spknorm.runs.signals import Interrupted, Interruption
from spknorm.upstreams import tuning

logger = logging.getLogger(__name__)


class S3prlRunner(Runner):  # type: ignore[misc]  # s3prl is untyped
    """Models, corpora and folder of an experiment: `evaluate`, `inference`.

    Args:
        args: s3prl's command line. `init_ckpt` in the experiment's own folder (or with `past_exp`)
            is gone on from; one from elsewhere gives its weights alone.
        config: The configuration as read from YAML.

    Raises:
        ConfigError, MissingError, DataError, CheckpointError: See spknorm.errors.
    """

    def __init__(self, args: argparse.Namespace, config: dict[str, Any]) -> None:
        self.args, self.config = args, config
        self.settings = configuration.parse(config)
        self._method = self.settings.downstream_expert.spknorm
        self._start = Start()
        self.expdir = Path(args.expdir)
        self.world = World(args.device)
        args.device = str(self.world.device)
        self._is_training = getattr(args, "mode", "train") == "train"
        self.init_ckpt = checkpoint.read(Path(args.init_ckpt)) if args.init_ckpt else {}
        with seeded("construction", args.seed, device=self.world.device):
            self.upstream = self._get_upstream()
            self.featurizer = self._get_featurizer()
            self.downstream = self._get_downstream()
        self.all_entries = [self.upstream, self.featurizer, self.downstream]
        self.expert = self.downstream.model
        upstream, featurizer = self.upstream.model, self.featurizer.model
        setup.check_upstream(upstream, featurizer, args, self.settings)
        if not self._is_training:
            tuning.merge(upstream)
        self.source = setup.make_source(
            upstream,
            featurizer,
            self.expert,
            self.settings,
            trainable=self.upstream.trainable,
            device=self.world.device,
        )
        self._outcome = Outcome(self.expdir, self.expert)
        self._streams: dict[str, Stream] = {}
        self._interruption = Interruption()

    def _init_model(
        self, model: nn.Module, name: str, trainable: bool, interfaces: list[str] | None = None
    ) -> Any:
        """Load weights as s3prl does, without DistributedDataParallel (see `World`)."""
        if name == "Upstream" and trainable:
            tuning.adapt(model, self.settings.upstream)
        if self._is_training:
            self._start.keep(setup.shared_part(model, name, self._method))
        try:
            if name == "Upstream" and self.init_ckpt.get(name):
                tuning.load_state(model, self.init_ckpt[name])
            else:
                self._load_weight(model, name)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            what = str(error).splitlines()[:2][-1]  # below torch's heading, where it has one
            raise CheckpointError(
                f"The weights of {name} in {self.args.init_ckpt} do not fit this experiment: "
                f"{textwrap.shorten(what, 200, placeholder=' ...')}"
            ) from error
        return ModelEntry(model, name, trainable, interfaces)

    def _get_downstream(self) -> Any:
        """Build the expert; s3prl passes sections and arguments by name, and has an `upstream`."""
        whole = self.config
        self.config = {key: section for key, section in whole.items() if key != "upstream"}
        try:
            entry = super()._get_downstream()
        finally:
            self.config = whole
        entry.model.config = self.settings
        return entry

    def evaluate(self, split: str | None = None) -> Any:
        """Score `split` (-t by default) with the weights of -e or -i; writes its predictions."""
        split = split or self.args.evaluate_split
        if split not in ("train", "dev", "test"):
            raise ConfigError(f"`-t` must be one of train, dev, test, but is `{split}`.")
        found = self._predict(split)
        if self.world.is_leader:
            self._outcome.write_predictions(split, found.predicted)
        given = self.args.init_ckpt  # of a folder the newest, not that of the best step on dev
        self._tell(split, found.scores, f"; the weights are {given}" if given else "")
        return found.scores

    def _tell(self, split: str, scores: Any, where: str = "") -> None:
        """Print the scores of a split, and where more is."""
        values = self.expert.target.logged(scores).items()
        told = ", ".join(f"{name} {value:.4f}" for name, value in values)
        logger.info("%s %s%s", split, told, where)

    def inference(self) -> None:
        """Write the emotion of the file -t to inference.txt."""
        if not Path(self.args.evaluate_split).is_file():
            raise MissingError(f"There is no audio file {self.args.evaluate_split} (-t).")
        if self.settings.downstream_expert.spknorm.erasure != "none":
            raise ConfigError("The erasure baselines score a corpus; they have no -m inference.")
        super().inference()

    def _predict(self, split: str) -> Evaluation:
        if split not in self._streams:
            self._streams[split] = self.expert.streams.evaluation(split)
        return evaluate(
            self._streams[split],
            heads=self.expert.heads,
            source=self.source,
            modules=[entry.model for entry in self.all_entries],
            world=self.world,
            target=self.expert.target,
            precision=evaluation_precision(self.settings.runner, self.world.device),
            ratio=self.settings.runner.evaluate_ratio,
            num_workers=self.settings.downstream_expert.datarc.num_workers,
            between=self._stop_if_asked,
        )

    def _stop_if_asked(self) -> None:
        number = self.world.largest(self._interruption.signal)
        if number:
            raise Interrupted(number)

    def _leave_if_asked(self) -> None:
        """End without asking the other processes: before step 1 there is nothing to save."""
        if self._interruption.signal:
            raise Interrupted(self._interruption.signal)
