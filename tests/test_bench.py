"""The grid of runs: expansion, completeness, resuming after any kill. Cells are small stubs."""

import sys
from pathlib import Path

import pytest
import yaml
from bench_files import experiment  # noqa: F401 (fixtures)

from spknorm import bench
from spknorm.bench.cells import run_command
from spknorm.bench.entries import VARIANT_KEYS
from spknorm.cli.overrides import apply_to_config, parse_overrides
from spknorm.errors import ConfigError, MissingError
from spknorm.protocols import PROTOCOLS


def write(tmp_path, text):
    path = tmp_path / "other.yaml"
    path.write_text(text)
    return path


def test_an_experiment_is_every_variant_on_every_fold_and_seed(experiment):
    assert [cell.name for cell in bench.expand(experiment)] == [
        "spknorm_demo_hubert-none-si5-fold1-seed1337",
        "spknorm_demo_hubert-none-si5-fold2-seed1337",
        "spknorm_demo_hubert-SNP-frozen-si5-fold1-seed1337",
        "spknorm_demo_hubert-SNP-frozen-si5-fold2-seed1337",
    ]


def test_lambdas_multiply_adversarial_variants_alone(tmp_path):
    path = write(
        tmp_path,
        "upstreams: [hubert_base]\n"
        "variants: [{strategy: none}, {strategy: TAP}, {strategy: SNP, speaker_lambda: 0.5}]\n"
        "lambdas: [1e-4, 0.01]\nprotocols: [sd]\nseeds: [0]",
    )
    cells = bench.expand(path)
    assert [cell.variant for cell in cells] == ["none", "TAP-lambda0.0001", "TAP-lambda0.01", "SNP"]
    methods = [cell.changes["downstream_expert"]["spknorm"] for cell in cells]
    assert [one.get("speaker_lambda") for one in methods] == [None, 1e-4, 0.01, 0.5]


@pytest.mark.parametrize("word", ["off", "no", "false", "null", "none", "'none'"])
def test_a_variant_s_words_are_read_as_a_run_reads_them(word, tmp_path):
    path = write(
        tmp_path,
        f"upstreams: [a]\nvariants: [{{strategy: {word}, erasure: {word}, frozen: 'no'}}]\n"
        "lambdas: [1, 2]\nprotocols: [sd]",
    )
    [cell] = bench.expand(path)
    assert (cell.variant, cell.frozen) == ("none", False)
    method = cell.changes["downstream_expert"]["spknorm"]
    assert method == {"strategy": "none", "erasure": "none"}


def test_low_resource_has_all_points_and_draws_of_the_paper_by_default(tmp_path):
    path = write(
        tmp_path,
        "upstreams: [{name: hubert_local, ckpt: a.pt, label: mine}]\nvariants: [{strategy: TAP}]\n"
        "protocols: [{protocol: low_resource, folds: [fold1]}]",
    )
    cells = bench.expand(path)
    assert len(cells) == 11 * 5
    assert cells[0].name == "mine-TAP-low_resource-n50-draw0-fold1-seed1337"
    data = cells[-1].changes["downstream_expert"]["datarc"]
    assert (data["samples_per_label"], data["draw"]) == (1000, 4)
    assert " -k a.pt " in " ".join(cells[0].command(Path("x")))


def test_protocols_may_have_their_own_seeds(tmp_path):
    path = write(
        tmp_path,
        "upstreams: [a]\nvariants: [none]\nprotocols: [si5, {protocol: sd, seeds: [0, 1, 2]}]",
    )
    cells = bench.expand(path)
    assert [(cell.fold, cell.seed) for cell in cells[5:]] == [("fold1", s) for s in range(3)]


def test_quick_takes_the_first_fold_and_few_steps(experiment):
    cells = bench.expand(experiment, quick=True)
    assert [cell.fold for cell in cells] == ["fold1", "fold1"]
    assert cells[0].changes["runner"]["total_steps"] == 20


def test_the_command_is_an_ordinary_run_that_continues_what_is_there(experiment):
    cell = bench.expand(experiment)[2]
    command = cell.command(Path("/out/cell"))
    assert command == [
        *[sys.executable, "-m", "spknorm", "run-downstream", "-m", "train"],
        *["-d", "emotion_spknorm", "-u", "spknorm_demo_hubert", "-v", "fold1", "--seed", "1337"],
        "--frozen",
        "-o",
        "config.runner.total_steps=30,,config.downstream_expert.datarc.protocol=si5,,"
        "config.downstream_expert.spknorm.strategy=SNP",
        *["-p", "/out/cell", "-a"],
    ]


@pytest.mark.parametrize(
    "value",
    [
        *[1, 1e-4, True, None, "SNP", "1", "a b ", "x=y", "/a/b.pt", [1, 2], ("dev", "test"), {}],
        *["on", "null", "1e3", "[a]"],
    ],
)
def test_settings_survive_the_way_through_the_command_line(value):
    read = {}
    apply_to_config(parse_overrides(run_command([], [("a.b", value)])[-1]), read)
    assert read["a"]["b"] == (list(value) if isinstance(value, tuple) else value)


def test_a_setting_with_two_commas_is_refused():
    with pytest.raises(ConfigError, match=r"^`a,,b` cannot be a setting: `,,` separates settings"):
        run_command([], [("a.b", "a,,b")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("upstreams: [a]", "{path}: `variants` is missing: what should be compared?"),
        (
            "upstream: [a]",
            "{path}: `upstream` is not a known key. Did you mean `upstreams`? Known here: name, "
            "kind, config, upstreams, variants, lambdas, protocols, seeds, select, audit, "
            "executor.",
        ),
        (
            "upstreams: [a]\nvariants: [none]\naudit: 1",
            "{path}: `audit` must be true or false, but is 1.",
        ),
        ("upstreams: a", "{path}: `upstreams` must be a list of at least one."),
        (
            "kind: [bench]",
            f"{{path}}: `kind` must be one of {', '.join(bench.KINDS)}, but is `['bench']`.",
        ),
        ("config: 3", "`config` must be a mapping, but is `3` (int)."),
        (
            "config: {downstream_expert: {datarc: none}}",
            "`config.downstream_expert.datarc` must be a mapping, but is `'none'` (str).",
        ),
        (
            "upstreams: [{name: a, ckpt: 3}]\nvariants: [none]",
            "`upstreams.ckpt` must be text, but is `3` (int).",
        ),
        *(
            (
                f"upstreams: [a]\nvariants: [none]\nname: {name}",
                "{path}: `name` must be the name of a folder, without separators, but is "
                f"{yaml.safe_load(name)!r}. `--out` says where else the results go.",
            )
            for name in ("a/b", "..", "''", "[a]", "/tmp/x", "true", "null")
        ),
        *(
            (f"upstreams: [a]\nvariants: [none]\nprotocols: [{{protocol: {entry}}}]", message)
            for entry, message in {
                "si5, folds: fold1": "`protocols.folds` must be a list, but is `'fold1'` (str).",
                "si5, folds: 1": "`protocols.folds` must be a list, but is `1` (int).",
                "si5, folds: [true]": "`protocols.folds[0]` must be text, but is `True` (bool).",
                "si5, seeds: 3": "`protocols.seeds` must be a list, but is `3` (int).",
                "si5, seeds: [a]": "`protocols.seeds[0]` must be a whole number, but is `'a'` "
                "(str).",
                "si5, label: 3": "`protocols.label` must be text, but is `3` (int).",
                "low_resource, draws: 2": "`protocols.draws` must be a list, but is `2` (int).",
                "low_resource, samples_per_label: [0]": "`protocols.samples_per_label` must be "
                "a list of "
                "numbers above 0, but is `[0]` (list).",
                "loso-group, groups: x": "`protocols.groups` must be a whole number, but is "
                "`'x'` (str).",
                "cross, corpora: demo": "`protocols.corpora` must be a list, but is `'demo'` "
                "(str).",
                "loso": "`folds` of loso must be named, as [fold1, fold2]: the corpus has one "
                "per speaker.",
                "loso, folds: [anna]": "`folds` of loso must be among fold1, fold2, ..., but "
                "one is `anna`.",
            }.items()
        ),
        (
            "kind: other",
            f"{{path}}: `kind` must be one of {', '.join(bench.KINDS)}, but is `other`.",
        ),
        (
            "upstreams: [a]\nvariants: [{strateg: SNP}]",
            "variants: `strateg` is not a known key. Did you mean `strategy`? Known here: "
            f"{', '.join(VARIANT_KEYS)}.",
        ),
        (
            "upstreams: [a]\nvariants: [{strategy: SPN}]",
            "`config.downstream_expert.spknorm.strategy` must be one of none, SNP, TAP, but is "
            "`'SPN'` (str).",
        ),
        (
            "upstreams: [a]\nvariants: [none, none]",
            "Two runs would be called a-none-si5-fold1-seed1337: give the variants or upstreams "
            "that differ names of their own (`name`, `label`), and each seed, fold and lambda "
            "once.",
        ),
        (
            "runner: {total_steps: 3}",
            "{path} holds the settings of one run: start it with `python run_downstream.py "
            "-d emotion_spknorm -u UPSTREAM -c {path}`.",
        ),
        (
            "upstreams: [a]\nvariants: [{strategy: TAP, name: A}, {strategy: none, name: a}]",
            "Two runs would be called a-A-si5-fold1-seed1337: give the variants or upstreams "
            "that differ names of their own (`name`, `label`), and each seed, fold and lambda "
            "once.",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nprotocols: [si6]",
            f"`protocols` must be among {', '.join(PROTOCOLS)}, but one is `si6`.",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nprotocols: [{protocol: sd, folds: [fold2]}]",
            "`folds` of sd must be among fold1, but one is `fold2`.",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nprotocols: [{protocol: sd, draws: [1]}]",
            "`samples_per_label` and `draws` belong to low_resource, not to sd.",
        ),
        ("upstreams: [{ckpt: a}]\nvariants: [none]", "`upstreams`: one of them lacks its `name`."),
        ("upstreams: [1]\nvariants: [none]", "`upstreams` holds names or mappings, but one is 1."),
        (
            "upstreams: [a]\nvariants: [none]\nseeds: [x]",
            "`seeds` must be a whole number, but is 'x'.",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nexecutor: {kind: pbs}",
            "`{path}: executor.kind` must be one of local, slurm, but is `'pbs'` (str).",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nexecutor: {threads: 0}",
            "`{path}: executor.threads` must be above 0, but is `0` (int).",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nexecutor: {gpus: -1}",
            "`{path}: executor.gpus` must be 0 or more, or null, but is `-1` (int).",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nexecutor: {mem_gb: .inf}",
            "`{path}: executor.mem_gb` must be a finite number, but is `inf` (float).",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nexecutor: {mem_gb: 0}",
            "`{path}: executor.mem_gb` must be above 0, or null, but is `0.0` (float).",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nexecutor: slurm",
            "{path}: `executor` must be a mapping such as {{kind: slurm}}.",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nconfig: {runner: {on_config_change: fork}}",
            "A bench looks for each result in the cell's own folder, so that "
            "`runner.on_config_change: fork` cannot serve it: leave it out.",
        ),
        (
            "upstreams: [a]\nvariants: [{strategy: on}]",
            "`config.downstream_expert.spknorm.strategy` must be one of none, SNP, TAP, but is "
            "`True` (bool).",
        ),
        (
            "upstreams: [a]\nvariants: [{strategy: none, frozen: maybe}]",
            "`variants.frozen` must be true or false, but is `'maybe'` (str).",
        ),
        (
            "upstreams: [a]\nvariants: [{strategy: none, layer: last}]",
            "`variants.layer` must be a whole number, but is `'last'` (str).",
        ),
        (
            "upstreams: [a]\nvariants: [TAP]\nlambdas: [weak]",
            "`{path}.lambdas[0]` must be a number, but is `'weak'` (str).",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nseeds: [-1]",
            "`seeds` must be from 0 to 2**32 - 1, but one is -1.",
        ),
        (
            "upstreams: [a]\nvariants: [none]\nexecutor: {requeue: perhaps}",
            "`{path}: executor.requeue` must be true or false, but is `'perhaps'` (str).",
        ),
        ("kind: controlled", "An experiment of kind controlled has no runs of its own to expand."),
    ],
)
def test_a_wrong_experiment_file_is_refused_before_anything_runs(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        bench.expand(path)
    assert str(caught.value) == message.format(path=path)


def test_a_missing_experiment_file_is_named(tmp_path):
    with pytest.raises(MissingError, match=r"There is no configuration file .*none\.yaml"):
        bench.expand(tmp_path / "none.yaml")


def test_a_fold_may_be_named_by_its_number(tmp_path):
    path = write(
        tmp_path,
        "upstreams: [a]\nvariants: [none]\nprotocols: [{protocol: loso, folds: [2, fold7]}]",
    )
    assert [one.fold for one in bench.expand(path)] == ["fold2", "fold7"]
