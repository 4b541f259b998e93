"""A planted truth: Gaussians for which theory says what confounding costs, and removal regains.

Beside the grid, without audio. An utterance is x = (e, b) + noise, rotated: the evidence e is
Gaussian around its emotion's mean, the speaker code b is Gaussian over speakers. In training a
speaker's emotions follow P(y | b) = softmax(kappa b)_y; in the test they are balanced. Then

    log P(y | x) = log N(e; m_y) + kappa b_y + const

is what a perfect learner finds, and on balanced speakers its accuracy is that of a vote in which
every unseen speaker brings a prior that is wrong there. A representation without b leaves
log N(e; m_y), since the prior averages to uniform over speakers: the accuracy that confounding
never touched.

Legend: N utterances, C emotions, which is also the dimension of e and of b.
"""

from typing import NamedTuple

import numpy as np

from spknorm.controlled.frozen import Data
from spknorm.controlled.pool import Floats, Integers
from spknorm.demo.synthesis import FloatArray

NUM_EMOTIONS = 4
CODE_NOISE = 0.1  # deviation of an utterance's code from its speaker's


class Truth(NamedTuple):
    """What a world is made of.

    Attributes:
        distance: As `plant` has it.
        kappa: As `plant` has it.
        rotation: (2 C, 2 C), from evidence and code, side by side, to features.
        code: (N, C) of each test utterance's speaker, without the utterance's noise.
    """

    distance: float
    kappa: float
    rotation: FloatArray
    code: FloatArray


class Planted(NamedTuple):
    """A world and a sample of it.

    Attributes:
        train: Confounded emotion corpus and independent speaker corpus.
        test: (N, 2 C) balanced utterances of unseen speakers.
        emotion: (N,) of the test utterances.
        confounded: Accuracy of the Bayes rule of the training distribution on balanced speakers.
        free: Accuracy of the Bayes rule that knows nothing of the speaker.
        truth: What no learner is told.
    """

    train: Data[Floats]
    test: Floats | FloatArray
    emotion: Integers
    confounded: float
    free: float
    truth: Truth


def plant(
    *,
    distance: float = 1.5,
    kappa: float = 1.2,
    num_speakers: int = 400,
    per_speaker: int = 24,
    seed: int = 0,
) -> Planted:
    """Draw a world of Gaussians, and work out what theory says of it.

    Args:
        distance: Of an emotion's mean from the origin, in deviations of the evidence.
        kappa: Strength of the confounding; 0 for none.
        num_speakers: In either corpus; the more, the closer learners come to the Bayes rules.
        per_speaker: Utterances.
        seed: Of the world, its speakers and its utterances.
    """
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.standard_normal((2 * NUM_EMOTIONS, 2 * NUM_EMOTIONS)))[0]
    speakers = np.repeat(np.arange(num_speakers), per_speaker)

    def utterances(emotion: Integers, codes: FloatArray) -> Floats:
        evidence = distance * np.eye(NUM_EMOTIONS)[emotion]
        evidence = evidence + rng.standard_normal(evidence.shape)
        noisy = codes + CODE_NOISE * rng.standard_normal(codes.shape)
        rotated: Floats = (np.concatenate([evidence, noisy], axis=1) @ rotation).astype(np.float32)
        return rotated

    def codes() -> FloatArray:
        return rng.standard_normal((num_speakers, NUM_EMOTIONS))[speakers]

    trained, heard, unseen = codes(), codes(), codes()
    prior = _softmax(kappa * trained)
    drawn = (prior.cumsum(1) > rng.uniform(size=(len(prior), 1))).argmax(1)
    balanced = np.tile(np.arange(NUM_EMOTIONS), len(speakers) // NUM_EMOTIONS + 1)[: len(speakers)]
    independent = rng.integers(NUM_EMOTIONS, size=len(speakers))
    confounded, free = bayes_accuracies(distance, kappa)
    return Planted(
        Data(utterances(drawn, trained), drawn, utterances(independent, heard), speakers, speakers),
        utterances(balanced, unseen),
        balanced,
        confounded,
        free,
        Truth(distance, kappa, rotation, unseen),
    )


def bayes_accuracies(
    distance: float, kappa: float, *, num_draws: int = 400_000, seed: int = 0
) -> tuple[float, float]:
    """Return the accuracies on balanced speakers of the Bayes rules with and without the speaker.

    The rule of the training distribution sees an utterance's code, which is its speaker's plus
    noise: it weighs it by what the code says of the speaker's.
    """
    rng = np.random.default_rng(seed)
    emotion = rng.integers(NUM_EMOTIONS, size=num_draws)
    evidence = distance * np.eye(NUM_EMOTIONS)[emotion]
    evidence = evidence + rng.standard_normal(evidence.shape)
    code = np.sqrt(1 + CODE_NOISE**2) * rng.standard_normal(evidence.shape)
    believed = kappa * code / (1 + CODE_NOISE**2)
    likelihood = distance * evidence  # log N(e; m_y) up to a constant, as all means are as long
    confounded = np.mean((likelihood + believed).argmax(1) == emotion)
    free = np.mean(likelihood.argmax(1) == emotion)
    return float(confounded), float(free)


def _softmax(values: FloatArray) -> FloatArray:
    exponents = np.exp(values - values.max(axis=1, keepdims=True))
    softmax: FloatArray = exponents / exponents.sum(axis=1, keepdims=True)
    return softmax
