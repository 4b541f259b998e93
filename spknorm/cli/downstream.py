"""`run_downstream`: one experiment, from a command line to s3prl's Runner or ours.

Everything a user can get wrong is looked at before torch is loaded or a file is written.
"""

import argparse
import logging
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from spknorm.cli import arguments, overrides, process, refusals, resume, settings
from spknorm.cli.parsing import Command
from spknorm.config.weights import check_weights, note_fetched, note_weights
from spknorm.errors import USER_ERRORS, ConfigError
from spknorm.files import own_place
from spknorm.upstreams.hugging_face.names import not_downloaded


@process.leaving_in_order()
def run(args: argparse.Namespace) -> int:
    """Prepare the experiment that `args` asks for and run its mode."""
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.WARNING,
        format=logging.BASIC_FORMAT if args.verbose else "%(message)s",  # as other commands do
    )
    logging.getLogger("spknorm").setLevel(logging.INFO)
    changes = overrides.parse_overrides(args.override)
    overrides.apply_to_args(changes, args)
    process.check_options(args)
    resume.look_for_checkpoint(args)
    config: dict[str, Any] | None = None
    if args.past_exp is None:
        config = settings.new_config(args, changes)
        settings.fill_in(args, config)
        resume.look_for_checkpoint(args)
    begins = args.past_exp is None
    if not begins:
        args, config = resume.resume(args, changes, config)
    assert config is not None
    refusals.check(args, config)
    if begins and args.mode == "train" and args.downstream == settings.OUR_TASK:
        note_weights(args)
    if args.mode != "train":
        _write_elsewhere_if_read_only(args)
    with ExitStack() as folders:
        if args.mode == "train" and process.is_leader():
            from spknorm.runs.resume import check_unused, held

            folders.enter_context(held(Path(args.expdir)))
            if begins and settings.is_our_engine(args, config) and not args.auto_resume:
                check_unused(Path(args.expdir))
        process.prepare(args)
        refusals.check_compile(args, config)
        if settings.is_our_engine(args, config):
            _follow_fork(args, config, folders)
        refusals.check_upstream(args)
        if process.is_leader():
            process.write_settings(args, config)
        process.seed(args)
        runner = _runner(args, config)
        if args.downstream == settings.OUR_TASK:
            _compare_fetched(runner, args, begins=begins and args.mode == "train")
        _run_mode(runner, args)
    return 0


def _compare_fetched(runner: Any, args: argparse.Namespace, *, begins: bool) -> None:
    """Note what a name of a hub led to, or compare it with what the run began with."""
    from spknorm.upstreams import fetched

    source = fetched(runner.upstream.model, args)
    if begins:
        note_fetched(args, source)
    else:
        check_weights(args, source)


def _write_elsewhere_if_read_only(args: argparse.Namespace) -> None:
    """Evaluate another's experiment, whose folder cannot be written, into a folder of one's own."""
    folder = Path(args.expdir)
    place = own_place(folder, args.mode)
    if place != folder:
        place.mkdir(parents=True, exist_ok=True)
        args.expdir = str(place)
        logging.getLogger("spknorm").warning(
            "%s cannot be written: the results go to %s.", folder, args.expdir
        )


def _follow_fork(args: argparse.Namespace, config: dict[str, Any], folders: ExitStack) -> None:
    """Point `args` at the fork of an experiment whose settings have changed, and hold that."""
    from spknorm.runs.resume import held
    from spknorm.runs.resume.fork import follow_fork

    before = args.expdir
    follow_fork(args, config)
    if args.expdir != before and process.is_leader():
        folders.close()  # the first folder may be gone on with meanwhile
        folders.enter_context(held(Path(args.expdir)))


def _runner(args: argparse.Namespace, config: dict[str, Any]) -> Any:
    from spknorm.compat import DownloadError

    try:
        if settings.is_our_engine(args, config):
            from spknorm.runner import SpknormRunner

            return SpknormRunner(args, config)
        from s3prl.downstream.runner import Runner

        from spknorm.runs.resume.stock import prepare

        # It passes sections and arguments by name, and has an argument `upstream`.
        runner = Runner(args, {key: part for key, part in config.items() if key != "upstream"})
        prepare(runner)
        return runner
    except DownloadError as error:
        raise error.of(args.upstream) from error
    except IndexError as error:
        where = traceback.extract_tb(error.__traceback__)[-1].name
        if args.upstream_layer_selection is None or where != "_select_feature":
            raise
        raise ConfigError(
            f"`-l {args.upstream_layer_selection}`: the upstream `{args.upstream}` has no layer of "
            f"that number in `{args.upstream_feature_selection}` (-s)."
        ) from error
    except OSError as error:
        # transformers and huggingface_hub, without a network or with a name that is not there
        on_the_hub = args.hub == "huggingface" or args.upstream.startswith("hf_")
        if isinstance(error, USER_ERRORS) or not on_the_hub:
            raise
        what = args.upstream if args.hub == "huggingface" else args.upstream_ckpt
        why = type(error).__name__
        raise not_downloaded(args.upstream, what, why, "Name a folder with -k") from error


def _run_mode(runner: Any, args: argparse.Namespace) -> None:
    if args.mode == "train":
        runner.train()
    elif args.mode == "evaluate":
        runner.evaluate()
    elif not hasattr(runner.downstream.model, "inference"):
        raise ConfigError(f"The task `{args.downstream}` has no inference: use -m evaluate.")
    else:
        runner.inference()
        written = Path(args.expdir) / "inference.txt"
        if written.is_file():
            print(written.read_text().splitlines()[-1])


COMMAND = Command(
    "train, evaluate or use a task: s3prl's own command line",
    arguments.EXAMPLES,
    arguments.ARGUMENTS,
    run,
)
