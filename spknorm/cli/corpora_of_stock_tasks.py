"""Finds the corpora of s3prl's own tasks where their configuration leaves them open.

This project's tasks find theirs through spknorm.corpora.
"""

import os
from pathlib import Path
from typing import Any

from spknorm.errors import MissingError

_ROOTS = {
    "emotion": ("root", "IEMOCAP_ROOT", "IEMOCAP (the folder with Session1 ... Session5)"),
    "voxceleb1": ("file_path", "VOXCELEB1_ROOT", "VoxCeleb1 (the folder with dev/ and test/)"),
    "fluent_commands": ("file_path", "FLUENT_COMMANDS_ROOT", "Fluent Speech Commands"),
}
_LISTS = ("iden_split.txt", "veri_test_class.txt")


def find_corpora(task: str, config: dict[str, Any]) -> None:
    """Fill in what `config.downstream_expert.datarc` of a stock task leaves open.

    Raises:
        MissingError: It is not there; the message says where it was looked for and what to do.
    """
    if task not in _ROOTS:
        return
    data = config.setdefault("downstream_expert", {}).setdefault("datarc", {})
    key, variable, what = _ROOTS[task]
    data[key] = data.get(key) or os.environ.get(variable)
    setting = f"config.downstream_expert.datarc.{key}"
    if not data[key] or not Path(data[key]).is_dir():
        where = f"`{data[key]}` is no folder" if data[key] else f"{variable} is not set either"
        raise MissingError(
            f"The task `{task}` needs {what}, but {where}. Say where it is in one of three ways: "
            f"export {variable}=DIR, or -o {setting}=DIR, or `{key}: DIR` in the file given by -c. "
            "Without the corpus, `spknorm demo FOLDER` writes generated ones in the same layouts."
        )
    root = Path(data[key])
    if task == "emotion":
        data["meta_data"] = data.get("meta_data") or str(root / "meta_data")
        if not list(Path(data["meta_data"]).glob("Session*/train_meta_data.json")):
            raise MissingError(
                f"{data['meta_data']} has no folds (SessionN/train_meta_data.json). Make them with "
                f"s3prl: python -m s3prl.downstream.emotion.IEMOCAP_preprocess {root}"
            )
    elif task == "voxceleb1":
        lists = [str(root / name) for name in _LISTS]
        data["meta_data"] = data.get("meta_data") or next(filter(os.path.isfile, lists), None)
        if data["meta_data"] is None:
            raise MissingError(
                f"VoxCeleb1's identification list is neither {' nor '.join(lists)}. Put it there, "
                "or name it: -o config.downstream_expert.datarc.meta_data=FILE"
            )
