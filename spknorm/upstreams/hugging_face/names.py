"""Names of the Hugging Face hub, told from mistyped paths before any network is asked.

Its client asks again five times, for minutes, where a name or a network is not there.
"""

import difflib
import socket
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from spknorm.errors import MissingError


def cached(name: str) -> Path | None:
    """Return the folder of a name in the Hugging Face cache, whole or not, if it has one."""
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(name, local_files_only=True))
    except (OSError, ValueError):  # nothing of it in the cache, or no name at all
        return None


def check_place(source: str, upstream: str) -> None:
    """Check that `source` is there, in the cache, or a name that the hub may be asked for.

    Raises:
        MissingError: A path of nothing, or a name of the hub that cannot be asked.
    """
    path = Path(source).expanduser()
    if path.exists() or cached(source) is not None:
        return
    if _is_path(source):
        beside = [one.name for one in path.parent.glob("*") if one.is_dir()]
        near = difflib.get_close_matches(path.name, beside, n=1)
        hint = f" Did you mean {path.parent / near[0]}?" if near else ""
        raise MissingError(f"The upstream `{upstream}` needs {source}, which is not there.{hint}")
    if reason := _out_of_reach():
        raise not_downloaded(upstream, source, reason, "Name a folder")


def not_downloaded(upstream: str, source: object, why: str, advice: str) -> MissingError:
    """Return (not raise) the error of a name that the hub does not give."""
    return MissingError(
        f"The upstream `{upstream}` needs `{source}`, which is neither a folder here nor in the "
        f"Hugging Face cache, and could not be downloaded ({why}). {advice}, or set HF_HOME to a "
        "cache that has it."
    )


def _is_path(source: str) -> bool:
    """Tell whether it cannot be a name of the hub, or is meant as a place in a folder that is."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(source)
    except HFValidationError:
        return True
    return "/" in source and Path(source).parent.is_dir()


def _out_of_reach() -> str | None:
    """Return why the hub cannot be asked; None where it may answer."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    host = urlsplit(constants.ENDPOINT).hostname or ""
    if urllib.request.getproxies():  # which look for the host themselves
        return None
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return f"{host} is not found: is there a network?"
    return None
