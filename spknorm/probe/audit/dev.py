"""The one probe that may be asked before anything is reported: the speaker on dev."""

from pathlib import Path

from spknorm.probe import Pooled, run_probe
from spknorm.probe.audit.models import own_model
from spknorm.probe.audit.pooling import pool_features
from spknorm.probe.audit.questions import question_of
from spknorm.probe.audit.runs import find_runs
from spknorm.probe.corpus import ProbeDataConfig, read_labelled
from spknorm.registry import register


def dev_leakage(folder: Path, *, device: str = "cpu", seed: int = 0) -> float:
    """Return the accuracy of a fresh linear speaker probe on what a run's emotion head sees.

    It learns on the speaker corpus' training part and is scored on its dev part; the part that an
    audit reports on stays unseen, so that settings may be chosen by this number.

    Args:
        folder: Of a finished run.
        device: Where its upstream runs.
        seed: Of the probe, and of the split where the corpus has none.

    Raises:
        MissingError: There is no finished run, or a corpus is not there.
        DataError: The speaker corpus cannot be probed.
    """
    register()
    (run,) = find_runs([Path(folder)], every_run=True)
    expert = run.settings.downstream_expert
    sizes = ProbeDataConfig.of(expert.datarc)
    split = read_labelled(expert.speaker_corpus, sizes, seed=seed, work_dir=run.folder)
    question = question_of("speaker", split, ("train",), "dev")
    pooled = pool_features(
        own_model(run, device),
        [question],
        max_seconds=expert.speaker_corpus.max_seconds,
        config=run.settings.upstream,
        device=device,
    )
    train = Pooled(pooled.of(question, "train").layer(-1), question.classes)
    test = Pooled(pooled.of(question, "test").layer(-1), question.truth, question.clusters)
    return float(run_probe("linear", train, test, control=None, seed=seed).score)
