"""What can be known before a run: machine and corpora, examined and returned as data.

checks.py says what a check is; machine.py looks at software, device and disk, sound.py at corpora.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from spknorm.doctor.checks import Check, status_of

if TYPE_CHECKING:
    from spknorm.schema import ExpertConfig

__all__ = ["Check", "examine", "status_of"]


def examine(config: "ExpertConfig", *, folder: Path | str, audio: bool = False) -> list[Check]:
    """Examine everything that a run with this configuration needs, and change nothing.

    Args:
        config: `downstream_expert`; its two corpora are read as the run would read them.
        folder: Where results are to go.
        audio: Decode every file to its end, which finds NaN, damage, silence and clipping;
            otherwise headers alone are read.

    Returns:
        The checks in the order of a report, no matter what is wrong.
    """
    from spknorm.doctor.machine import check_machine
    from spknorm.doctor.sound import check_corpus

    checks = check_machine(Path(folder))
    fold = config.datarc.test_fold or "fold1"
    checks += check_corpus(config.datarc, role="emotion", fold=fold, audio=audio)
    if config.spknorm.strategy != "none":
        checks += check_corpus(
            config.speaker_corpus,
            role="speaker",
            demo=(config.datarc.demo_rho, config.datarc.demo_seed),
            label=config.speaker_corpus.label,
            audio=audio,
        )
    return checks
