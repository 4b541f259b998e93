"""Uploads an exported folder to a model hub, through huggingface_hub's current API."""

from pathlib import Path

from spknorm.errors import ConfigError, MissingError

_CLIENTS = ("huggingface_hub", "httpx", "httpx2", "requests", "urllib3")


def push(
    folder: Path, repository: str, *, private: bool = True, endpoint: str | None = None
) -> str:
    """Upload `folder` as a commit to `repository`, which is made if it is not there.

    Args:
        folder: What `export` wrote; it needs its README.md, the model card.
        repository: `user/name` or `organisation/name`.
        private: Of a repository that is made; one that exists stays as it is.
        endpoint: Address of the hub; None: huggingface_hub's own setting.

    Returns:
        The address of the commit.

    Raises:
        MissingError: There is no such folder with a model card.
        ConfigError: The hub refused, for example for want of a token; nothing was uploaded.
        MissingError: It cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    folder = Path(folder)
    if not (folder / "README.md").is_file():
        raise MissingError(f"{folder} has no README.md; push a folder that `spknorm export` wrote.")
    api = HfApi(endpoint=endpoint)
    try:
        made = api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            commit_message="Normalised upstream, exported by spknorm",
        )
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError) as error:
        raise ConfigError(
            f"The hub did not take {repository}: {str(error).splitlines()[0]} "
            "Log in with `hf auth login`, or set HF_TOKEN."
        ) from error
    except Exception as error:  # requests, httpx and the hub each have their own kinds
        if type(error).__module__.partition(".")[0] not in _CLIENTS:
            raise
        raise MissingError(
            f"The hub cannot be reached ({str(error).splitlines()[0]}). {folder} is written: give "
            "the same command again where there is a network."
        ) from error
    return str(commit.commit_url)
