"""What s3prl's Runner expects of huggingface_hub and release 1.0 took away."""

import inspect
from typing import Any


def apply() -> None:
    """Put back `HfFolder`, `Repository` and the former arguments of `snapshot_download`."""
    import huggingface_hub

    if not hasattr(huggingface_hub, "HfFolder"):
        huggingface_hub.HfFolder = HfFolder
    if not hasattr(huggingface_hub, "Repository"):
        huggingface_hub.Repository = Repository
    download = huggingface_hub.snapshot_download
    if inspect.signature(download).parameters["revision"].kind is inspect.Parameter.KEYWORD_ONLY:
        huggingface_hub.snapshot_download = _with_former_arguments(download)


class HfFolder:
    """The stored access token, by today's functions."""

    @staticmethod
    def get_token() -> str | None:
        """Return the token of `HF_TOKEN` or of an earlier log-in."""
        import huggingface_hub

        token: str | None = huggingface_hub.get_token()
        return token

    @staticmethod
    def save_token(token: str | None) -> None:
        """Store a token; None leaves the stored one."""
        import huggingface_hub

        if token is not None:
            huggingface_hub.login(token=token)


class Repository:
    """A git clone of a repository on the Hub, which huggingface_hub no longer offers."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Refuse.

        Raises:
            NotImplementedError: Always, with what to do instead.
        """
        raise NotImplementedError(
            "huggingface_hub no longer has Repository, so --push_to_hf_hub cannot push. "
            "Upload the experiment folder with `hf upload` instead."
        )


def _with_former_arguments(download: Any) -> Any:
    def snapshot_download(
        repo_id: str, revision: str | None = None, *, use_auth_token: Any = None, **options: Any
    ) -> Any:
        # `use_auth_token=True` meant "the stored token if there is one", which is now the default.
        if isinstance(use_auth_token, str):
            options["token"] = use_auth_token
        return download(repo_id, revision=revision, **options)

    return snapshot_download
