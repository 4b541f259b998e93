"""What the tests of the command line share: s3prl's options, and how a command line is tried."""

from pathlib import Path

from spknorm.cli import arguments, overrides, refusals, run_downstream, settings

REPOSITORY = Path(__file__).parent.parent

S3PRL_OPTIONS = {
    "-m --mode",
    "-t --evaluate_split",
    "-o --override",
    "--backend",
    "--local_rank --local-rank",
    "-e --past_exp",
    "-i --init_ckpt",
    "-c --config",
    "-d --downstream",
    "-v --downstream_variant",
    "--hub",
    "-u --upstream",
    "-k --upstream_ckpt",
    "-g --upstream_model_config",
    "-r --upstream_refresh",
    "-f --upstream_trainable",
    "-s --upstream_feature_selection",
    "-l --upstream_layer_selection",
    "--upstream_feature_normalize",
    "--upstream_model_name",
    "--upstream_revision",
    "-n --expname",
    "-p --expdir",
    "-a --auto_resume",
    "--push_to_hf_hub",
    "--hf_hub_org",
    "--seed",
    "--device",
    "--cache_dir",
    "--verbose",
    "--disable_cudnn",
}
OWN_OPTIONS = {"--frozen", "--skip-bad"}


def fail(argv, capsys):
    """Return exit status and the text on stderr of a command that must not load s3prl's hub."""
    status = run_downstream(argv)
    return status, capsys.readouterr().err.strip()


def prepared(*argv):
    """Return arguments and configuration as they stand before anything is loaded."""
    args = arguments.parse(list(argv))
    changes = overrides.parse_overrides(args.override)
    overrides.apply_to_args(changes, args)
    config = settings.new_config(args, changes)
    settings.fill_in(args, config)
    refusals.check(args, config)
    return args, config
