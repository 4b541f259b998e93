"""The normalised upstream as something people can use: an experiment folder -> an export folder.

- `normalised.pt`: s3prl's converted format plus the gate; `spknorm_hubert_local` loads it in any
  task of s3prl, stock `hubert_local` as well (without the gate).
- `config.json`, `model.safetensors`, `preprocessor_config.json`: the same for transformers, as a
  HubertForSequenceClassification where it can express the emotion head, else as a HubertModel.
- `README.md`: the model card.
"""

import logging
from pathlib import Path
from typing import NamedTuple

from spknorm.errors import ConfigError
from spknorm.export.card import model_card
from spknorm.export.exportable import read_exportable
from spknorm.export.push import push
from spknorm.export.transformers_folder import write_transformers_folder
from spknorm.export.upstream_file import (
    NormalisingGate,
    build_gate,
    read_upstream_file,
    write_upstream_file,
)
from spknorm.files import own_place, write_atomic

__all__ = ["FORMATS", "Exported", "export", "load_gate", "push"]

logger = logging.getLogger(__name__)

FORMATS = ("s3prl", "transformers")


class Exported(NamedTuple):
    """What was written.

    Attributes:
        folder: Holds everything.
        upstream_file: `normalised.pt`, None if the format was not asked for.
        classifier: Whether the transformers folder carries the emotion classifier.
        reason: Why it does not; empty if it does.
    """

    folder: Path
    upstream_file: Path | None
    classifier: bool
    reason: str


def export(
    expdir: Path | str, out: Path | str | None = None, *, formats: tuple[str, ...] = FORMATS
) -> Exported:
    """Write the dev-best upstream of an experiment for others to use.

    Args:
        expdir: A finished experiment of the task emotion_spknorm.
        out: Folder to write to; None: `export` in `expdir`, or a folder below `result/export` if
            `expdir` cannot be written.
        formats: Some of `FORMATS`.

    Raises:
        MissingError: No finished experiment there.
        CheckpointError: Its checkpoint is damaged.
        ConfigError: Unknown format, or an upstream that the format cannot hold.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ConfigError(
            f"Formats of an export are {', '.join(FORMATS)}, but not `{' '.join(unknown)}`."
        )
    trained = read_exportable(Path(expdir))
    if out is None:
        place = own_place(Path(expdir), "export")
        out = place / "export" if place == Path(expdir) else place
    folder = Path(out)
    upstream_file = None
    if "transformers" in formats:
        write_transformers_folder(folder, trained.upstream, classifier=trained.classifier)
        if trained.classifier is None:
            logger.info("No transformers classifier: %s.", trained.reason)
    if "s3prl" in formats:
        upstream_file = folder / "normalised.pt"
        write_upstream_file(upstream_file, trained.upstream)
    write_atomic(folder / "README.md", model_card(trained))
    classifier = "transformers" in formats and trained.classifier is not None
    return Exported(folder, upstream_file, classifier, trained.reason)


def load_gate(path: Path | str) -> NormalisingGate | None:
    """Return SNP's gate from `normalised.pt`, in evaluation mode, or None where there is none.

    It takes all hidden states of the upstream, a sequence of (B, T, H) as transformers gives them
    with `output_hidden_states=True`, and returns the normalised features (B, T, H).
    """
    gate = read_upstream_file(Path(path)).gate
    return None if gate is None else build_gate(gate)
