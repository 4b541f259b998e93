"""What the independent verifier finds in a question's recordings, and in features of them.

After `pooling.py`, whose store keeps the d-vectors, too: each recording is embedded once.
Beside the probes of `probing.py`, in rows of the same kind.

Legend: N utterances, E dimension of a d-vector.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from itertools import product
from typing import Any

import numpy as np
from torch import Tensor

from spknorm.errors import DataError
from spknorm.probe.arrays import Floats
from spknorm.probe.audit.pooling import Done, PooledFeatures, cached_reader, read_through
from spknorm.probe.audit.probing import row_of
from spknorm.probe.audit.questions import Question
from spknorm.probe.audit.runs import Run
from spknorm.probe.score import ProbeScore
from spknorm.probe.verifier import judge_features, judge_recordings, load_verifier
from spknorm.runs.probes import ProbeRow


def num_judged(questions: Sequence[Question], *, raw: bool) -> int:
    """Return the verifier's share of a stage: recordings, of the raw one alone, and judgements."""
    asked = [question for question in questions if question.label == "speaker"]
    recordings = sum(len(question.train) + len(question.test) for question in asked)
    return (recordings + 2 * len(asked)) * raw + 2 * len(asked)


class Judge:
    """Asks the verifier.

    Raises:
        ConfigError: It is not installed.
    """

    def __init__(self, device: str) -> None:
        self._embed, self._device = load_verifier(device), device
        self._vectors: dict[tuple[str, ...], Floats] = {}

    def __call__(
        self,
        run: Run,
        question: Question,
        pooled: PooledFeatures,
        about: Mapping[str, Any],
        seed: int,
        done: Done,
    ) -> list[ProbeRow]:
        """Return the rows about a question: of features, and with the raw upstream of recordings.

        Recordings in which the verifier finds no speech are left out.

        Raises:
            DataError: Too few are left.
        """
        parts = ("train", "test")
        vectors = self._vectors_of(run, question, done)
        features = np.concatenate([pooled.of(question, part).layer(-1) for part in parts])
        labels = np.concatenate([question.classes, question.truth])
        num_recordings, speaks = len(labels), np.flatnonzero(vectors.any(axis=1))
        features, vectors, labels = features[speaks], vectors[speaks], labels[speaks]
        judges: dict[str, Callable[..., ProbeScore]] = {"head": partial(judge_features, features)}
        if about["stage"] == "raw":
            judges["recording"] = judge_recordings
        rows = []
        try:
            for (layer, judge), control in product(judges.items(), (None, "shuffled")):
                found = judge(vectors, labels, control=control, seed=seed)
                where = {"probe": "verifier", "layer": layer, "control": control, "seed": seed}
                rows.append(row_of(question, found, **about, **where))
                done(1)
        except DataError as error:
            raise DataError(
                f"The verifier hears someone speak in {len(speaks)} of {num_recordings} recordings "
                f"of the {question.corpus} corpus: {error}"
            ) from error
        return rows

    def _vectors_of(self, run: Run, question: Question, done: Done) -> Floats:
        """Return the d-vectors (N, E) of a question's utterances, zeros where nobody speaks."""
        utterances = (*question.train, *question.test)
        key = (question.corpus, *(utterance.id for utterance in utterances))
        if key not in self._vectors:

            def compute(wavs: list[Tensor]) -> list[Floats]:
                done(len(wavs))
                return [self._embed(wav.cpu().numpy())[None, None] for wav in wavs]

            about = {"verifier": f"resemblyzer {version('resemblyzer')}"}
            reader = cached_reader(run, compute, about, self._device)
            found = read_through(run, reader, utterances, question.corpus)
            self._vectors[key] = found.layer(0)
        return self._vectors[key]
