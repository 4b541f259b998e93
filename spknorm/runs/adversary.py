"""Whether an adversary had a say in a run: the verdict that result.json, log and tables carry.

After `result.py` in this folder.
"""

from collections.abc import Mapping
from typing import Any

from spknorm.runs.result import Adversary
from spknorm.schema import ExpertConfig

LEAST_SHARE = 0.01
LEAST_GAIN = 0.1
"""Below the one the ascent, below the other the speaker head, is as good as not there."""
_OFTEN = 0.5
_PARTS = {"SNP": "gate", "TAP": "upstream"}
_STRONGER = {
    "adaptive": "raise ascent_lr",
    "relative": "raise speaker_lambda, which is that share while nothing pauses the ascent",
    "relative to the loss": "raise speaker_lambda",
    "literal": "raise speaker_lambda, or set update: relative, which goes by the emotion step",
}


def gain(speaker_loss: float | None, log_num_speakers: float) -> float | None:
    """Return how far the speaker head is from a guess (0) to certainty (1)."""
    if speaker_loss is None or not log_num_speakers > 0:
        return None
    return (log_num_speakers - speaker_loss) / log_num_speakers


def judge(
    expert: ExpertConfig, measured: Mapping[str, Any], *, num_speakers: int
) -> Adversary | None:
    """Return what the adversary of a run did, and the doubts about it; None if it has none.

    Of `measured`, fields of `Adversary` by name, what is missing or None is not judged. Where the
    speaker labels are permuted, a control, the head is meant to know nothing.
    """
    method, shuffled = expert.spknorm, expert.speaker_corpus.shuffle_labels
    if method.strategy == "none":
        return None
    share, knows = measured.get("ascent_share"), measured.get("speaker_gain")
    paused = measured.get("ascents_paused")
    chance = 1 / num_speakers if num_speakers else None
    if method.update != "adaptive" and method.speaker_lambda == 0:  # the control without an ascent
        return Adversary(**{"chance": chance, **measured})
    reading = "relative to the loss" if method.goes_by_loss else method.update
    doubts = []
    if weak := share is not None and share < LEAST_SHARE:
        doubts.append(
            f"The adversary moved the {_PARTS[method.strategy]} {100 * share:.2g} % as far as the "
            f"emotion loss did: {_STRONGER.get(reading, _STRONGER['literal'])}."
        )
    if ignorant := not shuffled and knows is not None and knows < LEAST_GAIN:
        doubts.append(
            f"The adversary's head knew next to nothing of the speakers: at best it came "
            f"{100 * max(knows, 0.0):.2g} % of the way from a guess to certainty. Raise "
            "optimizer.groups.speaker_head.lr, speaker_corpus.batch_size or speaker_steps."
        )
    if paused is not None and paused > _OFTEN:
        doubts.append(
            f"The ceiling paused the ascent in {100 * paused:.0f} % of the steps: the speaker head "
            "did not keep up. Raise optimizer.groups.speaker_head.lr or speaker_steps, or lower "
            "speaker_lambda."
        )
    return Adversary(
        **{"chance": chance, **measured}, without_effect=weak or ignorant, doubts=tuple(doubts)
    )
