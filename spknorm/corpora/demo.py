"""The generated corpora, made where they are not yet there: IEMOCAP's and VoxCeleb1's readers."""

from spknorm.corpora import iemocap
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.records import Utterance
from spknorm.corpora.voxceleb1 import read_voxceleb1


def read(ask: Ask) -> list[Utterance]:
    """Return the emotional half of the demo, or the half of many speakers."""
    from spknorm.demo import make_demo_corpora

    roots = make_demo_corpora(rho=ask.data.demo_rho, seed=ask.data.demo_seed)
    if ask.role == "emotion":
        return iemocap.read(ask._replace(root=roots.iemocap))
    return read_voxceleb1(roots.voxceleb1, split_file=roots.voxceleb1_split)
