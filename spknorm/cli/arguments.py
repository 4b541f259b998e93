"""The command line of `run_downstream.py`: s3prl's, letter for letter, with defaults.

A default of None is filled in by `spknorm.cli.downstream`, where task and configuration are known.
"""

import argparse
from collections.abc import Sequence

from spknorm.cli.parsing import Parser

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
    add_arguments(parser)
    return parser.parse_args(argv)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add s3prl's options, `--frozen` and `--skip-bad`."""
    add = parser.add_argument
    add("-m", "--mode", choices=MODES, default="train", help="default: train")
    add(
        "-t",
        "--evaluate_split",
        metavar="SPLIT_OR_FILE",
        default="test",
        help="split to evaluate (default: test); with -m inference the audio file",
    )
    add(
        "-o",
        "--override",
        metavar="KEY=VALUE,,...",
        help="settings that beat all others, such as config.optimizer.lr=1.0e-4 or args.seed=3; "
        "values are read as in YAML, or as Python literals",
    )
    add("--backend", default="nccl", help="backend of torch.distributed (default: nccl)")
    add("--local_rank", "--local-rank", type=int, help="set by torchrun and torch.distributed")

    group = parser.add_argument_group("checkpoints")
    add = group.add_argument
    add(
        "-e",
        "--past_exp",
        metavar="FILE_OR_FOLDER",
        help="continue from a checkpoint with its arguments and configuration "
        "(a folder: from its newest usable states-*.ckpt)",
    )
    add("-i", "--init_ckpt", metavar="FILE", help="load the weights of a checkpoint, nothing else")
    add(
        "-a",
        "--auto_resume",
        action="store_true",
        help="continue if the experiment folder has checkpoints, else begin",
    )

    group = parser.add_argument_group("task and upstream")
    add = group.add_argument
    add("-c", "--config", metavar="YAML", help="what differs from the task's own config.yaml")
    add("-d", "--downstream", metavar="TASK", help="emotion_spknorm, or any task of s3prl")
    add("-v", "--downstream_variant", metavar="VARIANT", help="the test fold: fold1, fold2, ...")
    add("-u", "--upstream", metavar="NAME", help="any upstream of s3prl.hub, or hf:FOLDER_OR_NAME")
    add("-k", "--upstream_ckpt", metavar="FILE_OR_URL", help="checkpoint of a *_local upstream")
    add("-g", "--upstream_model_config", metavar="FILE", help="its configuration, if it needs one")
    add("-r", "--upstream_refresh", action="store_true", help="download its checkpoint again")
    add(
        "-f",
        "--upstream_trainable",
        action="store_true",
        default=None,
        help="fine-tune the upstream (the default for emotion_spknorm)",
    )
    add("--frozen", action="store_true", help="keep the upstream as it is, as in SUPERB")
    add(
        "-s",
        "--upstream_feature_selection",
        metavar="KEY",
        help="last_hidden_state (the default for emotion_spknorm) or hidden_states, weighted "
        "(the default for other tasks)",
    )
    add(
        "-l",
        "--upstream_layer_selection",
        metavar="N",
        type=int,
        help="a single layer of hidden_states",
    )
    add(
        "--upstream_feature_normalize",
        action="store_true",
        help="normalise each layer before the weighted sum",
    )
    add(
        "--hub",
        default="torch",
        choices=("torch", "huggingface"),
        help="where -u is looked up (default: torch)",
    )
    add(
        "--upstream_model_name",
        default="model.pt",
        help="file name on the Hugging Face Hub (default: model.pt)",
    )
    add("--upstream_revision", help="revision on the Hugging Face Hub")
    add("--skip-bad", action="store_true", help="leave unusable audio files out, and list them")

    group = parser.add_argument_group("experiment folder")
    add = group.add_argument
    add("-n", "--expname", help="its name in result/downstream (default: made of the settings)")
    add("-p", "--expdir", metavar="FOLDER", help="the folder itself, in place of -n")
    add("--push_to_hf_hub", default=False, metavar="BOOL", help="no longer possible; see hf upload")
    add("--hf_hub_org", help="unused without --push_to_hf_hub")

    group = parser.add_argument_group("machine")
    add = group.add_argument
    add("--seed", default=1337, type=int, help="default: 1337")
    add("--device", help="default: cuda if there is a GPU, else cpu")
    add("--cache_dir", metavar="FOLDER", help="where upstream checkpoints are downloaded to")
    add("--verbose", action="store_true", help="log details of s3prl and this project")
    add("--disable_cudnn", action="store_true", help="compute without cuDNN, on a GPU")
