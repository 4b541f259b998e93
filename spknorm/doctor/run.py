"""What the run itself would say: the fold, the streams, and whether disk and memory hold it."""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spknorm.audio import AudioIndex
from spknorm.bench.experiment import DEFAULT_SEED
from spknorm.corpora.columns import Utterances
from spknorm.corpora.records import Utterance
from spknorm.doctor import Check
from spknorm.errors import USER_ERRORS
from spknorm.files import cache_root, nearest_folder
from spknorm.protocols import Split
from spknorm.schema import TaskConfig
from spknorm.statistics import MIN_SPEAKERS

if TYPE_CHECKING:
    from spknorm.batches.task import TaskData

_FRAMES_PER_SECOND = 50  # of HuBERT and its kin
_FLOAT = 4  # bytes


def check_run(
    config: TaskConfig,
    *,
    work_dir: Path,
    folder: Path,
    upstream: str | None,
    frozen: bool,
) -> list[Check]:
    """Build what a run trains on, by the run's own functions, and answer as it would.

    `config` has the fold in `datarc.test_fold`; without an `upstream` on s3prl's hub no budget is
    known.
    """
    from spknorm.batches import task

    expert = config.downstream_expert
    fold = str(expert.datarc.test_fold)
    name = f"{expert.datarc.protocol} {fold}"
    try:
        data = task.read_task_data(expert, fold=fold, seed=DEFAULT_SEED, work_dir=work_dir)
    except USER_ERRORS as error:
        return [Check(name, "fail", str(error))]
    checks = [_check_fold(name, data.split)]
    emotions = Counter(one.emotion for one in data.split.test)
    classes = data.emotions if data.emotion.scale is None else ()
    if absent := [one for one in classes if not emotions[one]]:
        said = f"the test part has no utterance of {', '.join(absent)}, so UA leaves them out"
        checks.append(Check(f"{name}, classes", "warn", said))
    checks.append(_check_streams(data, config))
    if upstream is not None:
        emotion = (*data.split.train, *data.split.dev, *data.split.test)
        checks += _check_budgets(
            config, emotion, data.speaker_utterances, folder, upstream=upstream, frozen=frozen
        )
    return checks


def _check_fold(name: str, split: Split) -> Check:
    """Say what the fold has, and whether its speakers are enough for an interval."""
    parts = ", ".join(f"{len(part)} {key}" for key, part in split._asdict().items())
    tested = len({one.speaker for one in split.test})
    found = f"{parts} utterances; {tested} speaker{'s are' if tested != 1 else ' is'} tested"
    if tested >= MIN_SPEAKERS:
        return Check(name, "ok", found)
    known = {one.speaker for part in split for one in part}
    if len(known) >= MIN_SPEAKERS:
        few = f"fewer than {MIN_SPEAKERS} have no interval, so that a table needs further folds"
        return Check(name, "ok", f"{found}; {few}")
    few = f"the corpus has {len(known)}, and tables no interval and no test of fewer than"
    return Check(name, "warn", f"{found}; {few} {MIN_SPEAKERS}")


def _check_streams(data: "TaskData", config: TaskConfig) -> Check:
    """Read the first batches of training, of both corpora."""
    from spknorm.batches.streams import Streams

    try:
        streams = Streams(data, config, seed=DEFAULT_SEED)
        stream = streams.emotion()
        found = f"emotion batches of {len(stream[0].wavs)}, {len(stream.order)} an epoch"
        if (speakers := streams.speaker()) is not None:
            size = len(speakers[0].wavs)
            found += f"; speaker batches of {size} from {len(data.speakers)} classes"
    except USER_ERRORS as error:
        return Check("streams", "fail", str(error))
    return Check("streams", "ok", found)


def _check_budgets(
    config: TaskConfig,
    emotion: Sequence[Utterance],
    speaker: Sequence[Utterance],
    folder: Path,
    *,
    upstream: str,
    frozen: bool,
) -> list[Check]:
    from spknorm import features
    from spknorm.bench.budget import estimated_hours, hours_words
    from spknorm.bench.sizes import checkpoint_bytes, memory_bytes, shape_of
    from spknorm.features.store import FeatureStore, human_size

    shape = shape_of(upstream)
    if shape is None:
        return [Check("budget", "warn", f"the size of {upstream} is not known")]
    one = checkpoint_bytes(shape, config, frozen=frozen)
    memory = human_size(memory_bytes(shape, config, frozen=frozen))
    hours = hours_words(estimated_hours(shape, config, frozen=frozen))
    found = f"about {human_size(one)} a checkpoint, {memory} on the device, {hours}"
    checks = [Check("budget", "ok", found)]
    free = shutil.disk_usage(nearest_folder(folder)).free
    if 2 * one > free:  # a new one is whole before the old one goes
        advice = f"two do not fit into {human_size(free)}: choose another folder with -p"
        checks = [Check("budget", "fail", f"{found}; {advice}")]
    kind = features.plan(config, upstream_trainable=not frozen)
    if kind == "off":
        return checks
    limit = config.downstream_expert.speaker_corpus.max_seconds
    rows = 0.0
    for utterances, most in ((emotion, None), (speaker, limit)):
        headers = AudioIndex.shared().infos(Utterances.of(utterances).sounds())
        for found_seconds in headers.seconds.tolist():
            seconds = found_seconds if most is None else min(found_seconds, most)
            rows += 1 if kind == "pooled" else seconds * _FRAMES_PER_SECOND
    size = rows * (shape.layers + 1) * shape.width * _FLOAT
    store = FeatureStore(cache_root(config.upstream.cache_dir) / "features", about={})
    reason = store.room_for(size, limit_bytes=config.upstream.cache_limit_gb * 1e9)
    found = f"at most {human_size(size)} of {kind} features of the frozen upstream"
    if reason is None:
        return [*checks, Check("feature cache", "ok", found)]
    return [*checks, Check("feature cache", "warn", f"{found} are not cached: {reason}")]
