"""The table of rivals: whose idea each is, what it needs, its strengths, and what fits it."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

from torch import Tensor

from spknorm.controlled.fitted import Fit
from spknorm.controlled.rivals import embedding, prior, risk, transforms
from spknorm.controlled.rivals.adversaries import Adversary, Branches, Club, View
from spknorm.controlled.rivals.alignment import Alignment, Contrast, coral, mmd
from spknorm.controlled.rivals.training import by_rule
from spknorm.controlled.rivals.transforms import per_speaker

Needs = Literal[
    "nothing more", "a speaker corpus", "speakers of the emotion corpus", "the test speaker's audio"
]


class Rival(NamedTuple):
    """A way to deal with the speaker, and whose idea it is.

    It needs something beside emotion labels (of several the rarest); selection seeds choose one of
    its strengths.
    """

    title: str
    source: str
    needs: Needs
    strengths: tuple[float, float, float]
    fit: Fit


def _ascent(view: View) -> Fit:
    return by_rule(partial(Adversary, view=view))


def _aligned(distance: Callable[..., Tensor]) -> Fit:
    return by_rule(partial(Alignment, distance=distance))


_TABLE: dict[Needs, dict[str, tuple[str, str, tuple[float, float, float], Fit]]] = {
    "a speaker corpus": {
        "snp": ("SNP, ascent", "Gat et al. 2022", (0.5, 1.0, 2.0), _ascent("marginal")),
        "cdan": (
            "conditional adversary", "Long et al. 2018", (0.5, 1.0, 2.0), _ascent("conditional")),
        "joint": ("joint adversary", "Long et al. 2018", (0.5, 1.0, 2.0), _ascent("joint")),
        "mmd": ("kernel distance (MMD)", "Long et al. 2015", (1.0, 3.0, 10.0), _aligned(mmd)),
        "coral": ("moments (CORAL)", "Sun and Saenko 2016", (0.3, 3.0, 30.0), _aligned(coral)),
        "club": ("information bound (vCLUB)", "Cheng et al. 2020", (0.1, 0.3, 1.0), by_rule(Club)),
        "branches": (
            "orthogonal branches", "Bousmalis et al. 2016", (0.1, 1.0, 10.0), by_rule(Branches)),
        "leace": ("LEACE", "Belrose et al. 2023", (5, 10, 20), transforms.leace),
        "inlp": (
            "nullspace projection (INLP)", "Ravfogel et al. 2020", (5, 10, 20), transforms.inlp),
        "kernel": (
            "LEACE behind a kernel", "Belrose et al. 2023", (10, 20, 40), transforms.kernelised),
    },
    "speakers of the emotion corpus": {
        "calibrated": ("speakers' priors taken out in training", "Menon et al. 2021",
                       (0.5, 1.0, 1.5), prior.calibrated),
        "contrastive": (
            "contrast across speakers", "Khosla et al. 2020", (0.1, 0.3, 1.0), by_rule(Contrast)),
        "group_dro": ("GroupDRO", "Sagawa et al. 2020", (0.003, 0.01, 0.03), risk.group_dro),
        "v_rex": ("V-REx", "Krueger et al. 2021", (0.1, 1.0, 10.0), by_rule(risk.VRex, gate=False)),
        "irm": ("IRM", "Arjovsky et al. 2019", (0.1, 1.0, 10.0), by_rule(risk.Irm, gate=False)),
    },
    "the test speaker's audio": {
        "matched": ("posteriors matched to the prior", "Berthelot et al. 2020", (0.5, 0.75, 1.0),
                    prior.matched),
        "centred": ("speaker's mean taken out", "cepstral mean subtraction", (0.5, 0.75, 1.0),
                    per_speaker(transforms.centred)),
        "znorm": ("z-norm", "Busso et al. 2013, as baseline", (0.5, 0.75, 1.0),
                  per_speaker(transforms.scaled)),
        "whitened": ("whitening", "Ledoit and Wolf 2004", (0.25, 0.5, 1.0),
                     per_speaker(transforms.whitened)),
        "neutral": ("normalised by neutral speech", "Busso et al. 2013", (0.5, 0.75, 1.0),
                    transforms.by_neutral),
        "appended": ("speaker embedding beside", "i-vectors as in ASR", (0.3, 1.0, 3.0),
                     embedding.appended),
        "film": ("speaker embedding by FiLM", "Perez et al. 2018", (0.3, 1.0, 3.0),
                 embedding.modulated),
        "adapted": ("test speaker's statistics", "Li et al. 2018", (0.5, 0.75, 1.0),
                    transforms.adapted),
    },
}  # fmt: skip
RIVALS: dict[str, Rival] = {
    key: Rival(title, source, needs, strengths, fit)
    for needs, rivals in _TABLE.items()
    for key, (title, source, strengths, fit) in rivals.items()
}
