"""The normalised upstream as something people can use: an experiment folder -> an export folder.

- `config.json`, `model.safetensors`, `preprocessor_config.json`: for transformers, with the emotion
  classifier where it can express the head; `-u hf:FOLDER` reads them back in any task of s3prl,
  with the gate in `spknorm_gate.pt`.
- `normalised.pt`: as s3prl's own entry of the family reads it (`wavlm_local`, ...), where s3prl
  has one; of a HuBERT plus the gate, which `spknorm_hubert_local` applies.
- `model.onnx`, if asked for: upstream, gate and emotion head.
- `README.md`: the model card.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from spknorm.config.progress import Progress
from spknorm.errors import ConfigError, MissingError
from spknorm.export.card import model_card
from spknorm.export.exportable import read_exportable
from spknorm.export.onnx_file import ONNX_FILE, write_onnx
from spknorm.export.push import push
from spknorm.export.transformers_folder import write_transformers_folder
from spknorm.export.upstream_file import (
    GATE_FILE,
    NormalisingGate,
    build_gate,
    read_gate,
    write_gate,
    write_stock_file,
)
from spknorm.files import check_folder, own_place, write_atomic

__all__ = ["FORMATS", "Exported", "export", "gate_of", "load_gate", "push"]

logger = logging.getLogger(__name__)

FORMATS = ("s3prl", "transformers")


class Exported(NamedTuple):
    """What was written.

    Attributes:
        folder: Holds everything.
        upstream_file: `normalised.pt`, None if the format was not asked for.
        flags: What names the upstream to s3prl, gate and all: -u and, where it is a file, -k.
        classifier: Whether the transformers folder carries the emotion classifier.
        reason: Why it does not; empty if it does.
    """

    folder: Path
    upstream_file: Path | None
    flags: tuple[str, ...]
    classifier: bool
    reason: str


def export(
    expdir: Path | str,
    out: Path | str | None = None,
    *,
    formats: tuple[str, ...] | None = FORMATS,
    onnx: bool = False,
) -> Exported:
    """Write the dev-best upstream of an experiment for others to use.

    Args:
        expdir: A finished experiment of the task emotion_spknorm.
        out: Folder to write to; None: `export` in `expdir`, or a folder below `result/export` if
            `expdir` cannot be written.
        formats: Some of `FORMATS`; None: the one that s3prl reads with the gate, see `flags`.
        onnx: Also write `model.onnx`: upstream, gate and emotion head, waveform in, logits out.

    Raises:
        MissingError: No finished experiment there.
        CheckpointError: Its checkpoint is damaged.
        ConfigError: Unknown format, or an upstream that the format cannot hold.
        OSError: There can be no folder `out`.
    """
    unknown = [name for name in formats or () if name not in FORMATS]
    if unknown or formats == ():
        raise ConfigError(
            f"Formats of an export are {', '.join(FORMATS)}, but not `{' '.join(unknown)}`."
        )
    if out is not None:
        check_folder(Path(out))
    with Progress("export", 3 + len(formats or "1") + onnx) as progress:
        return _export(Path(expdir), out, formats, onnx=onnx, step=progress.advance)


def _export(
    expdir: Path,
    out: Path | str | None,
    formats: tuple[str, ...] | None,
    *,
    onnx: bool,
    step: Callable[[], None],
) -> Exported:
    run = read_exportable(expdir)
    step()
    own_file = run.stock is not None and run.applies_gate
    if formats is None:
        formats = ("s3prl",) if own_file else ("transformers",)
    if out is None:
        place = own_place(expdir, "export")
        out = place / "export" if place == expdir else place
    folder = Path(out)
    upstream_file = None
    if run.no_folder and formats == ("transformers",):
        assert run.stock is not None
        raise ConfigError(
            f"There is no folder of transformers: {run.no_folder}. Export {run.name} with "
            f"--format s3prl, and name {run.stock.name} with -u {run.entry} -k FILE."
        )
    folder.mkdir(parents=True, exist_ok=True)
    if "transformers" in formats:
        if run.form is not None and not run.no_folder:
            write_transformers_folder(folder, run.form(), classifier=run.classifier, gate=run.gate)
        if run.classifier is None:
            logger.info("No transformers classifier: %s.", run.reason)
        step()
    if "s3prl" in formats and run.stock is not None:
        upstream_file = folder / run.stock.name
        write_stock_file(upstream_file, run.stock.content, run.gate, run.provenance)
        for name, text in run.stock.beside.items():
            write_atomic(folder / name, text)
        if run.form is None:
            write_gate(folder / GATE_FILE, run.gate)
    elif formats == ("s3prl",):
        raise ConfigError(
            f"{run.name} is a model of transformers, for which s3prl has no file: export it "
            "with --format transformers, and name the folder with -u hf:FOLDER."
        )
    if "s3prl" in formats:
        step()
    if onnx:
        write_onnx(folder / ONNX_FILE, run)
        step()
    card = model_card(run)
    step()
    write_atomic(folder / "README.md", card)
    step()
    classifier = "transformers" in formats and run.classifier is not None
    flags: tuple[str, ...] = ("-u", f"hf:{folder.resolve()}")
    if upstream_file is not None and own_file:
        flags = ("-u", run.entry, "-k", str(upstream_file.resolve()))
    return Exported(folder, upstream_file, flags, classifier, run.reason)


def gate_of(ckpt: str | None, entry: str) -> NormalisingGate | None:
    """Return `load_gate` of what -k names for an entry of s3prl's hub.

    Raises:
        MissingError: It names nothing, or no such file.
        CheckpointError: The file is not a whole upstream.
    """
    if not ckpt:
        raise MissingError(f"{entry} needs the exported file: -k normalised.pt")
    return load_gate(ckpt)


def load_gate(path: Path | str) -> NormalisingGate | None:
    """Return SNP's gate from an export, in evaluation mode, or None where there is none.

    `path` is the folder of an export, or its `normalised.pt`.

    It takes all hidden states of the upstream, a sequence of (B, T, H) as transformers gives them
    with `output_hidden_states=True`, and returns the normalised features (B, T, H).
    """
    path = Path(path)
    if path.is_dir():
        path = path / GATE_FILE
        if not path.is_file():
            return None
    gate = read_gate(path)
    return None if gate is None else build_gate(gate)
