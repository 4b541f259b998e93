"""Every serious way of taking the speaker out, or putting it in, on equal footing.

One short file per idea; `RIVALS` below is the table of them, from which the benchmark, its page and
docs/rivals.md are made. Each has a strength, of which three candidates are tried on selection seeds
by one rule for all, and a control: the same with permuted speakers.

    world      what a rival may learn from       training   the loop of those that add a term
    plan       the experiment file               grid       rows per (rho, seed), resumable
    ranking    what the rows say                 outcome    table and page
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from spknorm.controlled import frozen
from spknorm.controlled.rivals import (
    alignment,
    branches,
    conditional,
    contrastive,
    embedding,
    information,
    normalisation,
    prior,
    projection,
    risk,
    test_time,
)
from spknorm.controlled.rivals.world import Fitted, Known

Fit = Callable[[Known, frozen.Settings, float, int], Fitted]
Needs = Literal[
    "nothing more", "a speaker corpus", "speakers of the emotion corpus", "the test speaker's audio"
]


class Rival(NamedTuple):
    """A way to deal with the speaker.

    Attributes:
        title: As tables name it.
        source: Whose idea it is.
        needs: What it needs beside emotion labels; of several the rarest.
        strengths: Three candidates, of which selection seeds choose one.
        fit: Trains it on a fold at a strength with a seed.
    """

    title: str
    source: str
    needs: Needs
    strengths: tuple[float, float, float]
    fit: Fit


def _corpus(title: str, source: str, strengths: tuple[float, float, float], fit: Fit) -> Rival:
    return Rival(title, source, "a speaker corpus", strengths, fit)


def _speakers(title: str, source: str, strengths: tuple[float, float, float], fit: Fit) -> Rival:
    return Rival(title, source, "speakers of the emotion corpus", strengths, fit)


def _test(title: str, source: str, strengths: tuple[float, float, float], fit: Fit) -> Rival:
    return Rival(title, source, "the test speaker's audio", strengths, fit)


RIVALS: dict[str, Rival] = {
    "snp": _corpus("SNP, ascent", "Gat et al. 2022", (0.5, 1.0, 2.0), conditional.marginal),
    "cdan": _corpus(
        "conditional adversary", "Long et al. 2018", (0.5, 1.0, 2.0), conditional.conditional
    ),
    "joint": _corpus("joint adversary", "Long et al. 2018", (0.5, 1.0, 2.0), conditional.joint),
    "mmd": _corpus("kernel distance (MMD)", "Long et al. 2015", (1.0, 3.0, 10.0), alignment.mmd),
    "coral": _corpus("moments (CORAL)", "Sun and Saenko 2016", (0.3, 3.0, 30.0), alignment.coral),
    "club": _corpus(
        "information bound (vCLUB)", "Cheng et al. 2020", (0.1, 0.3, 1.0), information.club
    ),
    "branches": _corpus(
        "orthogonal branches", "Bousmalis et al. 2016", (0.1, 1.0, 10.0), branches.branches
    ),
    "leace": _corpus("LEACE", "Belrose et al. 2023", (5, 10, 20), projection.leace),
    "inlp": _corpus(
        "nullspace projection (INLP)", "Ravfogel et al. 2020", (5, 10, 20), projection.inlp
    ),
    "kernel": _corpus(
        "LEACE behind a kernel", "Belrose et al. 2023", (10, 20, 40), projection.kernelised
    ),
    "calibrated": _speakers(
        "speakers' priors taken out in training",
        "Menon et al. 2021",
        (0.5, 1.0, 1.5),
        prior.calibrated,
    ),
    "contrastive": _speakers(
        "contrast across speakers", "Khosla et al. 2020", (0.1, 0.3, 1.0), contrastive.contrastive
    ),
    "group_dro": _speakers("GroupDRO", "Sagawa et al. 2020", (0.003, 0.01, 0.03), risk.group_dro),
    "v_rex": _speakers("V-REx", "Krueger et al. 2021", (0.1, 1.0, 10.0), risk.v_rex),
    "irm": _speakers("IRM", "Arjovsky et al. 2019", (0.1, 1.0, 10.0), risk.irm),
    "matched": _test(
        "posteriors matched to the prior", "Berthelot et al. 2020", (0.5, 0.75, 1.0), prior.matched
    ),
    "centred": _test(
        "speaker's mean taken out",
        "cepstral mean subtraction",
        (0.5, 0.75, 1.0),
        normalisation.centred,
    ),
    "znorm": _test(
        "z-norm", "Busso et al. 2013, as baseline", (0.5, 0.75, 1.0), normalisation.standardised
    ),
    "whitened": _test(
        "whitening", "Ledoit and Wolf 2004", (0.25, 0.5, 1.0), normalisation.whitened
    ),
    "neutral": _test(
        "normalised by neutral speech",
        "Busso et al. 2013",
        (0.5, 0.75, 1.0),
        normalisation.by_neutral,
    ),
    "appended": _test(
        "speaker embedding beside", "i-vectors as in ASR", (0.3, 1.0, 3.0), embedding.appended
    ),
    "film": _test(
        "speaker embedding by FiLM", "Perez et al. 2018", (0.3, 1.0, 3.0), embedding.modulated
    ),
    "adapted": _test(
        "test speaker's statistics", "Li et al. 2018", (0.5, 0.75, 1.0), test_time.adapted
    ),
}


def complete(
    path: Path, out: Path, *, quick: bool, progress: Callable[[int, int], None], workers: int = 2
) -> tuple[str, bool]:
    """Run an experiment file of `kind: rivals`, or continue it.

    Args:
        path: The file.
        out: Folder of the results; rows in it are not computed again.
        quick: Four rivals on few corpora.
        progress: Called with (parts done, parts in all).
        workers: Processes of one core each.

    Returns:
        The tables as text, and whether every part ran.

    Raises:
        ConfigError: The file has an unknown key or a wrong value, or another process uses `out`.
        MissingError: There is no such file.
    """
    from spknorm.controlled.rivals.grid import run_grid
    from spknorm.controlled.rivals.outcome import write_outcome
    from spknorm.controlled.rivals.plan import read_plan
    from spknorm.files import FolderLock

    plan = read_plan(path, quick=quick)
    with FolderLock(out):
        chosen, rows = run_grid(plan, out, workers=workers, progress=progress)
        return write_outcome(plan, chosen, rows, out).text, True


def describe(path: Path, *, quick: bool = False) -> str:
    """Return what `complete` would do, in words."""
    from spknorm.controlled.rivals.plan import read_plan

    plan = read_plan(path, quick=quick)
    trials = 3 * len(plan.selecting) * plan.select_folds
    controls = len(plan.rivals) * plan.num_seeds
    reported = (len(plan.confirming) + controls) * plan.num_folds
    return (
        f"{len(plan.rivals)} rivals: {trials} models to choose strengths on seeds "
        f"{', '.join(map(str, plan.select_seeds))}, then {reported} on seeds {plan.seeds[0]} to "
        f"{plan.seeds[-1]}, rho {', '.join(f'{rho:g}' for rho in plan.rho)}."
    )
