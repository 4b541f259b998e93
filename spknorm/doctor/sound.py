"""A corpus: whether it is found and can serve, its counts, and its files one by one."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from spknorm.audio import SILENT_BELOW, AudioError, AudioIndex, iter_windows
from spknorm.audio.faults import listing
from spknorm.audio.index import Headers
from spknorm.config.progress import Progress
from spknorm.corpora.checks import check_records, find_bad_audio
from spknorm.corpora.iemocap import check_counts, is_full
from spknorm.corpora.labels import classes_among
from spknorm.corpora.reading import label_set, read_corpus
from spknorm.corpora.records import Utterance
from spknorm.doctor import Check
from spknorm.errors import USER_ERRORS
from spknorm.schema import ExpertConfig

_CLIPPED_AT = 0.999
_CLIPPED_SHARE = 0.001  # of the samples
_COUNTED = "spknorm.corpora"  # the logger of what "IEMOCAP counts" says
_LONG_SECONDS = 60.0
_NUM_THREADS = 8


class Levels(NamedTuple):
    """Half the range of a recording, full scale 1, and the share of its samples at full scale."""

    peak: float
    clipped: float


def check_corpus(config: ExpertConfig, role: str, *, audio: bool) -> list[Check]:
    """Read a corpus as a run would, and look at its files; `audio`: decode every one."""
    name = f"{role} corpus"
    section = config.datarc if role == "emotion" else config.speaker_corpus
    from spknorm.batches.emotions import with_targets

    with heard() as remarks:
        try:
            records = read_corpus(config, role)
            labels = label_set(config.datarc)
            if role == "emotion":
                records, _ = with_targets(config.datarc, records)
            else:
                check_records(records, role=role, label=config.speaker_corpus.label)
        except USER_ERRORS as error:
            return [Check(name, "fail", str(error))]
    checks = [Check(name, "ok", _counts(section.corpus, records))]
    if section.corpus == "iemocap" and labels == "four" and config.datarc.targets == "classes":
        checks.append(_check_counts(records))
    if remarks:
        worst = max(record.levelno for record in remarks) >= logging.WARNING
        said = "\n".join(record.getMessage() for record in remarks)
        checks.append(Check(f"{name}, left out", "warn" if worst else "ok", said))
    skip_bad = config.datarc.skip_bad
    return checks + _check_files(name, records, audio=audio, skip_bad=skip_bad)


@contextmanager
def heard() -> Iterator[list[logging.LogRecord]]:
    """Collect what the readers remark about a corpus, instead of logging it."""
    remarks: list[logging.LogRecord] = []

    def take(record: logging.LogRecord) -> bool:
        if record.name != _COUNTED:
            remarks.append(record)
        return False

    parents = [logging.getLogger(f"spknorm.{name}") for name in ("audio", "corpora")]
    before = [(one, one.level, one.propagate) for one in parents]
    handler = logging.Handler()
    handler.addFilter(take)
    for one in parents:
        one.addHandler(handler)
        one.setLevel(logging.INFO)
        one.propagate = False
    try:
        yield remarks
    finally:
        for one, level, propagate in before:
            one.removeHandler(handler)
            one.setLevel(level)
            one.propagate = propagate


def _levels_of(utterance: Utterance) -> Levels | None:
    """Return how loud a recording is, decoding it a minute at a time; None if that fails now."""
    low, high, clipped, total = np.inf, -np.inf, 0, 0
    try:
        for _, samples in iter_windows(utterance.audio, window_seconds=60, hop_seconds=60):
            low, high = min(low, float(samples.min())), max(high, float(samples.max()))
            clipped += int((np.abs(samples) >= _CLIPPED_AT).sum())
            total += len(samples)
    except AudioError:  # gone since it was decoded a moment ago
        return None
    return Levels((high - low) / 2, clipped / total)


def _counts(corpus: str, records: Sequence[Utterance]) -> str:
    speakers = {record.speaker for record in records if record.speaker is not None}
    text = f"{corpus}: {len(records)} utterances of {len(speakers)} speakers"
    emotions = Counter(record.emotion for record in records)
    if classes := classes_among(records):
        text += "; " + ", ".join(f"{emotions[emotion]} {emotion}" for emotion in classes)
    return text


def _check_counts(records: Sequence[Utterance]) -> Check:
    differences = check_counts(records)
    if differences:
        return Check("IEMOCAP counts", "warn", "; ".join(differences))
    if is_full(records):
        return Check("IEMOCAP counts", "ok", "the 5531 utterances of the literature")
    return Check("IEMOCAP counts", "warn", "a part of the corpus, so not compared with 5531")


def _check_files(
    name: str, records: Sequence[Utterance], *, audio: bool, skip_bad: bool
) -> list[Check]:
    bad = find_bad_audio(records, decode=audio)
    files = f"{name}, {'audio' if audio else 'headers'}"
    left_out = {one.utterance.id for one in bad}
    good = [record for record in records if record.id not in left_out]
    checks = []
    if bad:
        hint = "left out, as skip_bad says" if skip_bad else "--skip-bad leaves them out"
        heading = f"{len(bad)} of {len(records)} files cannot be used ({hint}):"
        text = listing([str(one.error) for one in bad], heading)
        checks.append(Check(files, "warn" if skip_bad else "fail", text))
    if good:
        name_of_check = f"{name}, lengths" if bad else files
        headers = AudioIndex.shared().infos([record.audio for record in good])
        checks.append(_check_lengths(name_of_check, headers))
        if audio:
            checks += _check_levels(name, good)
    return checks


def _check_lengths(name: str, headers: Headers) -> Check:
    seconds = headers.seconds.tolist()
    rates = set(headers.records["rate"].tolist())
    detail = (
        f"{sum(seconds) / 3600:.1f} h, {min(seconds):.1f} to {max(seconds):.1f} s, at "
        + ", ".join(f"{rate} Hz" for rate in sorted(rates))
    )
    long = sum(one > _LONG_SECONDS for one in seconds)
    if long:
        return Check(name, "warn", f"{detail}; {long} are longer than a minute: much memory")
    return Check(name, "ok", detail)


def _check_levels(name: str, records: Sequence[Utterance]) -> list[Check]:
    known: list[tuple[Utterance, Levels]] = []
    with Progress("levels", len(records)) as progress, ThreadPoolExecutor(_NUM_THREADS) as pool:
        for one, level in zip(records, pool.map(_levels_of, records), strict=True):
            known += [] if level is None else [(one, level)]
            progress.advance()
    silent = [str(one.path) for one, level in known if level.peak < SILENT_BELOW]
    clipped = [str(one.path) for one, level in known if level.clipped > _CLIPPED_SHARE]
    checks = []
    for what, found, meaning in (
        ("silence", silent, "peak under -60 dB"),
        ("clipping", clipped, "over 0.1 % of the samples at full scale"),
    ):
        text = f"none in {len(records)} files"
        if found:
            text = listing(found, f"{len(found)} of {len(records)} files ({meaning}):")
        checks.append(Check(f"{name}, {what}", "warn" if found else "ok", text))
    return checks
