"""Files of weights as people have them: read with weights alone, names unwrapped, errors said.

Everything that loads weights from a file comes here: s3prl's modules (-k), checkpoints of
experiments (-i, -e), exports and the audit. Nothing but tensors and plain values is unpickled.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from spknorm.errors import USER_ERRORS, CheckpointError, MissingError, is_out_of_memory
from spknorm.upstreams.weights import fairseq_file
from spknorm.upstreams.weights.folders import explain_folder
from spknorm.upstreams.weights.folders import no_description as no_description
from spknorm.upstreams.weights.folders import no_weights as no_weights
from spknorm.upstreams.weights.kinds import describe as describe
from spknorm.upstreams.weights.kinds import explain as explain
from spknorm.upstreams.weights.kinds import first_line as first_line
from spknorm.upstreams.weights.kinds import why_unread
from spknorm.upstreams.weights.names import plain_name as plain_name
from spknorm.upstreams.weights.names import tensors_in as tensors_in
from spknorm.upstreams.weights.names import unwrap_names as unwrap_names
from spknorm.upstreams.weights.names import unwrapped


def load_weights(file: Any, **options: Any) -> Any:
    """Do what torch.load does, with weights alone, and with names that are only wrapped unwrapped.

    A checkpoint of fairseq comes back as s3prl would have converted it.

    `file` is a path or an open binary file; of the options `weights_only` is always on.

    Raises:
        MissingError: No such file.
        CheckpointError: Not a whole file of weights; the message says what it is and what to do.
    """
    try:
        content = fairseq_file.load(file, **options)
    except FileNotFoundError as error:
        raise MissingError(f"There is no checkpoint {file}.") from error
    except Exception as error:  # pickle, zipfile and torch each raise their own kinds
        if is_out_of_memory(error):
            raise
        if isinstance(file, (str, Path)):
            raise CheckpointError(f"{file} {why_unread(file, error)}.") from error
        raise CheckpointError(f"The checkpoint is damaged ({first_line(error)}).") from error
    return fairseq_file.converted(unwrapped(content))


def build_from(
    source: Callable[[], str | Path | None], build: Callable[[], Any], *, upstream: str
) -> Any:
    """Return what `build` makes of an upstream's checkpoint, or say what is wrong with the file.

    `source` tells, once `build` has failed, which file or folder it read.

    Raises:
        CheckpointError: The file is of another kind, or does not fit the upstream.
        MissingError: A folder or name of a hub that is not there.
    """
    try:
        return build()
    except USER_ERRORS:
        raise
    except Exception as error:  # each upstream of s3prl fails in its own way
        ckpt = source()
        if ckpt is None or is_out_of_memory(error):
            raise
        path = Path(ckpt)
        if not (path.is_file() or path.is_dir()):
            raise
        what = (explain if path.is_file() else explain_folder)(path, error, upstream)
        raise CheckpointError(f"The upstream {upstream} cannot use {ckpt}: it {what}.") from error
