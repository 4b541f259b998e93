"""The command line of `run_downstream.py`: s3prl's, letter for letter, with defaults.

A default of None is filled in by `spknorm.cli.downstream`, where task and configuration are known.
"""

import argparse
from collections.abc import Sequence

from spknorm.cli.parsing import DEVICE, Parser, add_arguments, flag, option

MODES = ("train", "evaluate", "inference")

EXAMPLES = """\
examples:
  spknorm run-downstream -d emotion_spknorm -u hubert_large_ll60k
  spknorm run-downstream -d emotion_spknorm -u hubert_base -v fold3 -a \\
      -o "config.downstream_expert.spknorm.strategy=SNP,,config.optimizer.lr=1.0e-4"
  spknorm run-downstream -m evaluate -t test -e result/downstream/NAME/dev-best.ckpt
  spknorm run-downstream -m inference -t speech.wav -e result/downstream/NAME/dev-best.ckpt
  spknorm run-downstream -d emotion_spknorm -u spknorm_demo_hubert -o \\
config.downstream_expert.datarc.corpus=demo,,config.downstream_expert.speaker_corpus.corpus=demo
Corpora are found by IEMOCAP_ROOT, VOXCELEB1_ROOT, ... or the configuration's `root`; the last
example needs none. `python run_downstream.py` takes the same options.
"""


ARGUMENTS = (
    option("-m --mode", "default: train", choices=MODES, default="train"),
    option(
        "-t --evaluate_split",
        "split to evaluate (default: test); with -m inference the audio file",
        "SPLIT_OR_FILE",
        default="test",
    ),
    option(
        "-o --override",
        "settings that beat all others, such as config.optimizer.lr=1.0e-4 or args.seed=3; "
        "values are read as in YAML, or as Python literals",
        "KEY=VALUE,,...",
    ),
    option("--backend", "backend of torch.distributed (default: nccl)", default="nccl"),
    option("--local_rank --local-rank", "set by torchrun and torch.distributed", type=int),
    "checkpoints",
    option(
        "-e --past_exp",
        "continue from a checkpoint with its arguments and configuration "
        "(a folder: from its newest usable states-*.ckpt)",
        "FILE_OR_FOLDER",
    ),
    option("-i --init_ckpt", "load the weights of a checkpoint, nothing else", "FILE"),
    flag("-a --auto_resume", "continue if the experiment folder has checkpoints, else begin"),
    "task and upstream",
    option("-c --config", "what differs from the task's own config.yaml", "YAML"),
    option("-d --downstream", "emotion_spknorm, or any task of s3prl", "TASK"),
    option("-v --downstream_variant", "the test fold: fold1, fold2, ...", "VARIANT"),
    option("-u --upstream", "any upstream of s3prl.hub, or hf:FOLDER_OR_NAME", "NAME"),
    option("-k --upstream_ckpt", "checkpoint of a *_local upstream", "FILE_OR_URL"),
    option("-g --upstream_model_config", "its configuration, if it needs one", "FILE"),
    flag("-r --upstream_refresh", "download its checkpoint again"),
    flag(
        "-f --upstream_trainable",
        "fine-tune the upstream (the default for emotion_spknorm)",
        default=None,
    ),
    flag("--frozen", "keep the upstream as it is, as in SUPERB"),
    option(
        "-s --upstream_feature_selection",
        "last_hidden_state (the default for emotion_spknorm) or hidden_states, weighted "
        "(the default for other tasks)",
        "KEY",
    ),
    option("-l --upstream_layer_selection", "a single layer of hidden_states", "N"),
    flag("--upstream_feature_normalize", "normalise each layer before the weighted sum"),
    option(
        "--hub",
        "where -u is looked up (default: torch)",
        default="torch",
        choices=("torch", "huggingface"),
    ),
    option(
        "--upstream_model_name",
        "file name on the Hugging Face Hub (default: model.pt)",
        default="model.pt",
    ),
    option("--upstream_revision", "revision on the Hugging Face Hub"),
    flag("--skip-bad", "leave unusable audio files out, and list them"),
    "experiment folder",
    option("-n --expname", "its name in result/downstream (default: made of the settings)"),
    option("-p --expdir", "the folder itself, in place of -n", "FOLDER"),
    option("--push_to_hf_hub", "no longer possible; see hf upload", "BOOL", default=False),
    option("--hf_hub_org", "unused without --push_to_hf_hub"),
    "machine",
    option("--seed", "default: 1337", default=1337, type=int),
    DEVICE,
    option("--cache_dir", "where upstream checkpoints are downloaded to", "FOLDER"),
    flag("--verbose", "log details of s3prl and this project"),
    flag("--disable_cudnn", "compute without cuDNN, on a GPU"),
)
"""s3prl's options, `--frozen` and `--skip-bad`."""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line.

    Raises:
        ConfigError: It is none of ours; see `spknorm.cli.parsing`.
    """
    parser = Parser(
        prog="run_downstream.py",
        description="Train, evaluate or use a downstream task of s3prl or of this project.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser, ARGUMENTS)
    return parser.parse_args(argv)
