"""What cannot work is refused here, before it costs anybody time."""

import argparse
import os
from pathlib import Path
from typing import Any

from spknorm import registry
from spknorm.cli.settings import OUR_TASK, fold_of, is_our_engine
from spknorm.config import parse
from spknorm.config.device import check_compiler
from spknorm.config.launcher import place
from spknorm.errors import ConfigError, MissingError, did_you_mean
from spknorm.upstreams.hugging_face.names import check_place

_NO = ("false", "0", "no", "none", "")


def check(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Look at everything that can be known before torch is loaded and anything is written.

    Raises:
        ConfigError: A setting is wrong, or has no effect.
        MissingError: A file is not there.
    """
    if args.downstream == OUR_TASK:
        _check_our_task(args, config)
    elif args.downstream == "speaker_probe":
        _check_speaker_corpus(config)
    if is_our_engine(args, config):
        place()
    elif os.environ.get("WORLD_SIZE", "1") not in ("", "0", "1"):
        raise ConfigError(
            "s3prl's own Runner never ends on several processes, since all but the first do not "
            f"count their steps: run `-d {args.downstream}` without torchrun"
            + (", or with config.runner.engine=spknorm." if args.downstream == OUR_TASK else ".")
        )
    folder = os.environ.get("TMPDIR")
    if folder and not is_our_engine(args, config) and not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(  # torch's data-loading processes would hand over nothing, for ever
            f"TMPDIR is `{folder}`, which is no folder that can be written: s3prl's data-loading "
            "processes could hand over nothing. Make it, name another, or unset TMPDIR."
        )
    args.push_to_hf_hub = str(args.push_to_hf_hub).lower() not in _NO
    if args.push_to_hf_hub:
        raise ConfigError(
            "`--push_to_hf_hub` is no longer possible: huggingface_hub has no Repository any more. "
            "Upload the experiment folder afterwards: hf upload NAME FOLDER"
        )
    last = args.upstream_feature_selection == "last_hidden_state"
    if args.upstream_layer_selection is not None and last:
        raise ConfigError("`-l` has no effect with `-s last_hidden_state`: leave one out.")
    for option, value in (("-i", args.init_ckpt), ("-g", args.upstream_model_config)):
        if value is not None and not Path(value).is_file():
            what = (
                "it is a folder: name a file" if Path(value).is_dir() else "there is no such file"
            )
            raise MissingError(f"`{option} {value}`: {what}.")
    _check_checkpoint_of_upstream(args)
    _check_mode(args)


def _check_our_task(args: argparse.Namespace, config: dict[str, Any]) -> None:
    from spknorm.corpora.reading import root_of  # not needed for --help
    from spknorm.protocols import folds_of

    expert = parse(config).downstream_expert
    data, fold = expert.datarc, fold_of(args, config)
    folds = folds_of(data)
    if folds and fold not in folds:
        raise ConfigError(
            f"`test_fold` must be one of {', '.join(folds)}, but is `{fold}`. "
            "Choose it with -v or config.downstream_expert.datarc.test_fold."
        )
    # The upstream is loaded first, and may have to be downloaded: a missing corpus is told before.
    root_of(data.corpus, "emotion", data.roots.get(data.corpus, data.root))
    if expert.spknorm.strategy != "none":
        _check_speaker_corpus(config)


def _check_speaker_corpus(config: dict[str, Any]) -> None:
    from spknorm.corpora.reading import root_of

    expert = config.get("downstream_expert") or {}
    corpus = expert.get("speaker_corpus") or {}
    root_of(corpus.get("corpus", "voxceleb1"), "speaker", corpus.get("root"))


def _check_checkpoint_of_upstream(args: argparse.Namespace) -> None:
    name, file = args.upstream, args.upstream_ckpt
    if args.hub != "torch" or not name.endswith(("_local", "_url", "_custom")):
        return
    if file is None and name != "baseline_local":  # which takes -g alone
        raise ConfigError(f"The upstream `{name}` needs a checkpoint: name it with -k.")
    if file is None or not name.endswith("_local"):
        return
    if Path(file).is_dir():
        raise MissingError(
            f"`-k {file}`: it is a folder, and `{name}` takes a file; a folder of transformers "
            f"goes with -u hf:{file}."
        )
    if not Path(file).is_file():
        raise MissingError(f"`-k {file}`: there is no such checkpoint file.")


def _check_mode(args: argparse.Namespace) -> None:
    if args.mode != "train" and not args.init_ckpt:
        raise ConfigError(
            f"`-m {args.mode}` needs trained weights: name a checkpoint with -e or -i, such as "
            f"-e {args.expdir}/dev-best.ckpt."
        )
    if args.mode == "inference" and not Path(args.evaluate_split).is_file():
        raise MissingError(
            f"`-m inference` needs an audio file, but `-t {args.evaluate_split}` is none."
        )


def check_compile(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Refuse `upstream.compile` where nothing compiles, once the device is known."""
    if is_our_engine(args, config) and parse(config).upstream.compile:
        check_compiler(args.device)


def check_upstream(args: argparse.Namespace) -> None:
    """Refuse an upstream that s3prl.hub does not have, naming the nearest; loads s3prl.hub."""
    registry.register()
    if args.hub == "huggingface":
        return
    from s3prl import hub

    from spknorm.compat.s3prl_modules import ADDRESSED

    kind, _, source = args.upstream.partition(":")
    if kind in ADDRESSED:
        if not source:
            raise ConfigError(f"`-u {kind}:` needs a folder of transformers or a name of its hub.")
        check_place(source, args.upstream)
        return
    if args.upstream.startswith("hf_") and args.upstream_ckpt:
        check_place(str(args.upstream_ckpt), args.upstream)
    known = hub.options()
    if args.upstream not in known:
        hint = did_you_mean(args.upstream, known, most=3)
        raise ConfigError(f"s3prl.hub has no upstream `{args.upstream}`.{hint}")
