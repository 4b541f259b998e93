"""The training loop: s3prl's Runner with the two-stage update, exact resume and honest selection.

After `updates`, `features` and `checkpoint` in the flow. `s3prl_runner.py` builds what is trained;
a step is `iteration.py`'s. Step s uses micro-batches s*A ... s*A+A-1 (A accumulated) and randomness
seeded by (seed, s, rank): a resumed run needs weights, optimisers and counters alone.
"""

import logging
import signal
from contextlib import closing, nullcontext
from typing import Any

from tqdm import tqdm

from spknorm.batches import workers
from spknorm.config.memory import garbage_sought_in_what_is_new
from spknorm.corpora.digest import write_rows
from spknorm.errors import CheckpointError, ConfigError, is_disk_full
from spknorm.features.ahead import Ahead
from spknorm.features.sources import training_batches
from spknorm.runner import pretraining, setup
from spknorm.runner.iteration import Iteration
from spknorm.runner.s3prl_runner import S3prlRunner
from spknorm.runner.saving import Saver
from spknorm.runs import checkpoint, state
from spknorm.runs.adversary import judge
from spknorm.runs.evaluation import Evaluation
from spknorm.runs.journal import Journal
from spknorm.runs.resume import check_unused, ended_for_good, goes_on
from spknorm.runs.signals import Interrupted, requeue
from spknorm.upstreams import tuning
from spknorm.upstreams.fast import keep_freed_memory

logger = logging.getLogger(__name__)

_FINAL = ("speaker_loss", "speaker_accuracy", "log_num_speakers", "emotion_loss")


class SpknormRunner(S3prlRunner):
    """s3prl's Runner for this project's tasks: `train`, `evaluate`, `inference`."""

    def train(self) -> None:
        """Train, choose the best dev step and test it once; go on where a checkpoint stands.

        Raises:
            NonFiniteError: Too many steps in a row without a finite loss and gradient.
            ConfigError: Settings that do not fit the checkpoint, too little memory, or a
                data-loading process that died.
            CheckpointError: The disk is full, or a checkpoint is damaged.
            SystemExit: 128 + the number of the signal that asked the run to end.
        """
        try:
            with self._interruption:
                self._train()
        except Interrupted as interrupted:
            if interrupted.signal == signal.SIGUSR1 and self.world.is_leader:
                requeue()
            raise SystemExit(128 + interrupted.signal) from None
        except (OSError, EOFError, RuntimeError) as error:
            if workers.is_dead_loader(error):
                raise ConfigError(workers.explain()) from error
            if isinstance(error, OSError) and is_disk_full(error):
                raise CheckpointError(checkpoint.disk_full(self.expdir, error)) from error
            raise

    def _train(self) -> None:
        complete = ended_for_good(self.args, self.expdir, self.settings)
        if not complete:
            self.counters = self._counters()
            complete = self._is_over() and (self.expdir / "result.json").is_file()
        if complete:
            logger.info("%s is complete: nothing to do.", self.expdir)
        else:
            self._journal = Journal(
                self.expdir if self.world.is_leader else None,
                fold=self.expert.fold,
                lines=self.counters.lines,
            )
            self._iteration = self._make_iteration()
            self._saver = Saver(self, self._iteration, self._journal, self.counters)
            if self.world.is_leader:
                write_rows(self.expdir, self.expert.data.corpora)
            self._pretrain_speaker_head()
            if not self.counters.step:
                self._journal.say(setup.how_long(self.settings, self.world, self.expert))
            self._loop()
            self._finish()
            self._journal.close()
            if self.world.is_leader:
                checkpoint.shrink(self.expdir, keep=self.settings.runner.keep)
        self.world.leave()

    def _counters(self) -> state.Counters:
        if goes_on(self.args, self.expdir):
            corpora, size = self.expert.data.corpora, self.world.size
            asked = state.Asked(self.args, self.settings, corpora, size)
            return state.resumed(self.init_ckpt, asked)
        if self.world.is_leader:
            check_unused(self.expdir)
        return state.Counters()

    def _make_iteration(self) -> Iteration:
        modules = [entry.model for entry in self.all_entries]
        for entry in self.all_entries:
            entry.model.train(bool(entry.trainable))
        on_cpu = self.upstream.trainable and self.world.device.type == "cpu"
        if on_cpu and self.settings.upstream.keep_freed_memory:
            keep_freed_memory()
        self.world.same_weights(*modules)
        groups = setup.make_groups(
            self.upstream.model,
            self.featurizer.model,
            self.expert.heads,
            frozen=not self.upstream.trainable,
        )
        iteration = Iteration(
            self.expert,
            self.source,
            groups,
            self.world,
            modules=modules,
            settings=self.settings,
            counters=self.counters,
            say=self._journal.say,
            start=self._start,
            scales=tuning.rates(self.upstream.model, self.settings.upstream),
        )
        if self.counters.step:
            iteration.load_state_dict(self.init_ckpt, self.init_ckpt[state.KEY]["scaler"])
        return iteration

    def _pretrain_speaker_head(self) -> None:
        """Train the speaker head before step 1, unless the checkpoint had that done."""
        steps, counters = self._method.speaker_pretrain_steps, self.counters
        done = counters.step or counters.pretrained
        if self.expert.heads.speaker_head is None or done or not steps:
            return
        values = pretraining.pretrain_speaker_head(
            self, between=self._leave_if_asked, say=self._journal.say
        )
        counters.pretrained = steps
        self._journal.log(0, "pretrain", values)

    def _is_over(self) -> bool:
        patience = self.settings.runner.early_stopping
        tired = patience is not None and self.counters.without_gain >= patience
        return tired or self.counters.step >= self.settings.runner.total_steps

    def _loop(self) -> None:
        if self.world.is_leader:
            (self.expdir / "result.json").unlink(missing_ok=True)
        run, counters = self.settings.runner, self.counters
        emotion, speaker = training_batches(
            self.expert, self.source, self.world, settings=self.settings, step=counters.step
        )
        saved = counters.step
        silent = None if self.world.is_leader else True  # None: where there is no terminal
        bar = tqdm(total=run.total_steps, initial=saved, desc="train", disable=silent)
        ahead = self._iteration.ahead = Ahead(
            {"emotion": (emotion, run.gradient_accumulate_steps),
             "speaker": (speaker, self._method.speaker_steps)},
            self.source,
            self.world.device,
        )  # fmt: skip
        on_gpu = self.world.device.type != "cpu"
        collecting = garbage_sought_in_what_is_new() if on_gpu else nullcontext()
        with closing(emotion), closing(speaker), bar, collecting:
            try:
                while True:
                    self._evaluate_if_due()
                    if counters.step != saved and (
                        self._is_over() or counters.step % run.save_step == 0
                    ):
                        self._saver.save()
                        saved = counters.step
                    if self._is_over():
                        return
                    self._stop_if_asked()
                    self._iteration(*ahead.take())
                    last = counters.step == run.total_steps
                    if last or counters.step % run.log_step == 0:
                        self._log_training()
                    bar.update()
            except Interrupted:
                self._saver.save()
                self._journal.say(f"interrupted at step {counters.step}, which was saved")
                raise

    def _log_training(self) -> None:
        values = self._iteration.measured()
        self._journal.log(self.counters.step, "train", values)
        metric = self.expert.target.metric(self.settings.runner.select_by)
        self._journal.say(f"train at step {self.counters.step}: {values.get(metric)}")
        self.counters.final = {name: values[name] for name in _FINAL}

    def _evaluate_if_due(self) -> None:
        counters, run = self.counters, self.settings.runner
        due = counters.step % run.eval_step == 0 or counters.step >= run.total_steps
        if not due or counters.step == counters.evaluated or "dev" not in run.eval_dataloaders:
            return
        dev = self._evaluate("dev", counters.step)
        counters.evaluated = counters.step
        warnings = counters.collapse(
            self.expert.target.at_chance(dev.scores, within=state.NEAR_CHANCE),
            log_num_speakers=self._iteration.instrument.log_num_speakers,
        )
        for text in warnings:
            logger.warning("Collapse at step %d: %s", counters.step, text)
            self._journal.say(f"collapse at step {counters.step}: {text}")
        score = self._selected(dev.scores)
        if counters.take(score, dev.predicted):
            self.expert.best_score.fill_(score)
            self._journal.say(f"New best on dev at step {counters.step}: {score}")
            if self.world.is_leader:
                self._outcome.write_predictions("dev", dev.predicted)
            self._saver.write(checkpoint.BEST)

    def _evaluate(self, split: str, step: int) -> Evaluation:
        """Predict a split and log its scores."""
        found = self._predict(split)
        values = {"emotion_loss": found.loss, **self.expert.target.logged(found.scores)}
        self._journal.log(step, split, values)
        self._journal.say(f"{split} at step {step}: {self._selected(found.scores)}")
        return found

    def _selected(self, scores: Any) -> float:
        """Return the score by which the best step is chosen, and which log.log follows."""
        return float(self.expert.target.selected(scores, self.settings.runner.select_by))

    def _finish(self) -> None:
        """Test the best dev step, whose weights, predictions and scores are the run's."""
        self.world.wait()
        best = test = None
        if self.counters.evaluated:
            states = checkpoint.read(self.expdir / checkpoint.BEST)
            best = state.Counters.of(states)
            for entry in self.all_entries:
                if entry.name in states:
                    tuning.load_state(entry.model, states[entry.name])
        if "test" in self.settings.runner.eval_dataloaders:
            test = self._evaluate("test", (best or self.counters).step)
        adversary = judge(
            self.settings.downstream_expert,
            self._iteration.instrument.adversary(),
            num_speakers=self.expert.num_speakers,
        )
        for doubt in adversary.doubts if adversary else ():
            logger.warning("%s", doubt)
            self._journal.say(doubt)
        computing = self._saver.computing()
        self._journal.say(str(computing))
        self._journal.sync()
        if self.world.is_leader:
            self._outcome.write_result(
                best=best,
                test=test,
                args=vars(self.args),
                steps=self.counters.step,
                best_step=(best or self.counters).step,
                seconds=self._saver.seconds(),
                computing=computing,
                final=self.counters.final,
                adversary=adversary,
                accepted=self.counters.accepted,
            )
            if test is not None and test.scores is not None:
                self._tell("test", test.scores, f"; everything is in {self.expdir}/result.json")
