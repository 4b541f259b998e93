"""Every file in configs/, as shipped: keys that are known, names that exist, recipes that train."""

import json
from pathlib import Path

import pytest
import yaml
from tiny_runs import make_runner

from spknorm import bench, config, registry
from spknorm.bench.experiment import DEFAULT_SEED
from spknorm.errors import ConfigError, MissingError

FOLDER = Path(__file__).parents[1] / "configs"
KINDS = {
    path: (yaml.safe_load(path.read_text()).get("kind", "bench"))
    for path in sorted(FOLDER.glob("*.yaml"))
}
RUNS = [
    path
    for path in KINDS
    if {"runner", "optimizer", "downstream_expert"} & set(yaml.safe_load(path.read_text()))
]
BENCHES = [path for path, kind in KINDS.items() if kind == "bench" and path not in RUNS]
TABLES = [path for path, kind in KINDS.items() if kind == "superb"]
CLAIMS = ("iemocap_hubert_large", "iemocap_hubert_base", "low_resource", "demo")


def ids(paths):
    return [path.stem for path in paths]


def test_every_file_is_of_a_kind_that_is_tested_here():
    controlled = [path for path, kind in KINDS.items() if kind in ("controlled", "rivals")]
    assert set(KINDS) == {*BENCHES, *RUNS, *controlled, *TABLES}
    assert len(BENCHES) > 4 and RUNS and controlled and TABLES


@pytest.mark.parametrize("path", BENCHES, ids=ids(BENCHES))
def test_a_grid_expands_to_runs_whose_every_key_is_known(path):
    experiment = bench.read_experiment(path)
    cells = bench.expand(experiment)
    assert experiment.name == path.stem  # the report names the file by it
    assert len({cell.name for cell in cells}) == len(cells) > 1
    for cell in cells:
        config.parse(cell.changes)
    if experiment.select:
        candidates = bench.expand(bench.candidates_of(experiment))
        assert not {one.seed for one in candidates} & {one.seed for one in cells}
        assert {tuple(one.changes["runner"]["eval_dataloaders"]) for one in candidates} == {
            ("dev",)
        }


@pytest.mark.parametrize("path", RUNS, ids=ids(RUNS))
def test_a_file_for_one_run_parses_with_the_task_s_defaults_below_it(path):
    defaults = config.load_yaml(registry.config_path("emotion_spknorm"))
    config.parse(config.merge(defaults, config.load_yaml(path)))


@pytest.mark.parametrize("name", CLAIMS)
def test_a_file_that_makes_the_claim_has_its_controls_on_equal_footing(name):
    cells = [cell for cell in bench.expand(FOLDER / f"{name}.yaml") if not cell.frozen]
    methods = {}
    for cell in cells:
        expert = cell.changes["downstream_expert"]
        method = expert["spknorm"]
        shuffled = expert.get("speaker_corpus", {}).get("shuffle_labels", False)
        kind = (method["strategy"], method.get("speaker_lambda") == 0, shuffled)
        methods.setdefault(kind, []).append(cell)
    wanted = {
        ("none", False, False),
        ("SNP", True, False),
        ("SNP", False, False),
        ("TAP", False, False),
        ("SNP", False, True),
        ("TAP", False, True),
    }
    if name == "demo":  # has minutes alone
        wanted.remove(("SNP", False, True))
    assert wanted <= set(methods)
    # What differs between rows is the method alone: steps, rates and clipping are shared.
    assert len({str((c.changes.get("runner"), c.changes.get("optimizer"))) for c in cells}) == 1


def test_the_demo_shows_the_task_s_own_method():
    (tap,) = {
        str(cell.changes["downstream_expert"]["spknorm"])
        for cell in bench.expand(FOLDER / "demo.yaml")
        if cell.variant == "TAP"
    }
    assert tap == "{'speaker_pretrain_steps': 1000, 'strategy': 'TAP'}"


@pytest.mark.parametrize("path", TABLES, ids=ids(TABLES))
def test_the_experiments_that_a_table_names_are_made_by_the_file_of_that_name(path):
    rows = yaml.safe_load(path.read_text())["upstreams"]
    experiments = [row["experiment"] for row in rows if "experiment" in row]
    assert experiments
    for one in experiments:
        result, name, run = one.split("/")
        assert result == "result"
        assert run in {cell.name for cell in bench.expand(FOLDER / f"{name}.yaml")}, run


RECIPES = {
    "the task's defaults": {},
    "SNP": {"downstream_expert": {"spknorm": {"strategy": "SNP"}}},
    **{path.name: config.load_yaml(path) for path in RUNS},
    **{
        path.name: bench.expand(path)[0].changes
        for path in BENCHES
        if path.stem in ("demo", "superb_er")
    },
}
SCALED = {
    "runner": {
        "total_steps": 200, "log_step": 20, "save_step": 200, "eval_dataloaders": [],
        "keep": "none", "precision": "auto",
    },
    "downstream_expert": {
        "datarc": {
            "corpus": "demo", "num_workers": 0, "protocol": "si5", "samples_per_label": None,
        },
        "speaker_corpus": {"corpus": "demo"},
    },
}  # fmt: skip
LEAST_GAIN = 0.1
"""Nats of the emotion loss, of log 4 = 1.39, that 200 steps have to win."""


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_scaled_to_the_demo_s_upstream_lowers_the_emotion_loss(name, tmp_path):
    """Its own optimiser, rates, clipping, accumulation; the demo's corpora, its 3 layers of 64."""
    defaults = config.load_yaml(registry.config_path("emotion_spknorm"))
    settings = config.merge(config.merge(defaults, RECIPES[name]), SCALED)
    frozen = name == "superb_er.yaml"
    make_runner(
        None,
        settings,
        tmp_path,
        upstream="spknorm_demo_hubert",
        upstream_trainable=not frozen,
        upstream_feature_selection="hidden_states" if frozen else "last_hidden_state",
    ).train()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    losses = [one["emotion_loss"] for one in map(json.loads, lines) if one["split"] == "train"]
    assert len(losses) == 10
    assert losses[0] - losses[-1] > LEAST_GAIN


@pytest.mark.slow
def test_two_thousand_steps_without_a_ceiling_do_not_run_away(tmp_path):
    """config.yaml as it is, SNP on the demo's frozen upstream, beside its gate alone."""
    ends = {}
    for strength in (0.0, 3.0):
        settings = config.merge(
            config.load_yaml(registry.config_path("emotion_spknorm")),
            config.merge(
                SCALED,
                {
                    "runner": {
                        "total_steps": 2000, "log_step": 200, "gradient_accumulate_steps": 1,
                    },
                    "downstream_expert": {
                        "datarc": {"train_batch_size": 16},
                        "speaker_corpus": {"batch_size": 16, "micro_batch_size": None},
                        "spknorm": {
                            "strategy": "SNP", "speaker_lambda": strength,
                            "speaker_pretrain_steps": 1000,
                        },
                    },
                },
            ),
        )  # fmt: skip
        assert settings["downstream_expert"]["spknorm"]["ceiling"] is None
        folder = tmp_path / str(strength)
        make_runner(
            None, settings, folder, upstream="spknorm_demo_hubert", upstream_trainable=False,
        ).train()  # fmt: skip
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        ends[strength] = [one for one in lines if one["split"] == "train"][-1]
    alone, adversary = ends[0.0], ends[3.0]
    assert adversary["ascent_share"] == pytest.approx(3.0, rel=1e-3)
    assert adversary["emotion_loss"] < alone["emotion_loss"] + 0.1 < 1.0
    assert adversary["held_out_accuracy"] < alone["held_out_accuracy"]
    assert adversary["drift"] < 2.0 * alone["drift"]


def write(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


def test_a_file_extends_another_and_says_only_what_differs(tmp_path):
    write(
        tmp_path,
        "base.yaml",
        "name: base\nconfig: {runner: {total_steps: 40, log_step: 5}}\nupstreams: [hubert_base]\n"
        "variants: [none]\nprotocols: [sd]\nseeds: [1]",
    )
    path = write(
        tmp_path,
        "mine.yaml",
        "extends: base.yaml\nconfig: {runner: {total_steps: 50}}\nupstreams: [hubert_large_ll60k]",
    )
    experiment = bench.read_experiment(path)
    assert experiment.name == "mine"
    assert experiment.seeds == (1,)
    assert experiment.config == {"runner": {"total_steps": 50, "log_step": 5}}
    assert [cell.upstream.name for cell in bench.expand(experiment)] == ["hubert_large_ll60k"]


def test_a_file_that_extends_nothing_or_itself_is_refused(tmp_path):
    path = write(tmp_path, "a.yaml", "extends: b.yaml")
    with pytest.raises(ConfigError, match=r"`extends` names 'b\.yaml', which is no file beside it"):
        bench.read_experiment(path)
    write(tmp_path, "b.yaml", "extends: a.yaml")
    with pytest.raises(ConfigError, match=r"`extends` leads back to the file itself"):
        bench.read_experiment(path)
    with pytest.raises(MissingError):
        bench.read_experiment(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("{keep: 1.0}", "`select` must be a mapping with `lambda`, the candidates"),
        ("{lambda: [0.0]}", "`select.lambda` must hold numbers above 0; 0 is always tried"),
        ("{lambda: []}", "`select.lambda` must hold numbers above 0"),
        ("{lambda: [0.1], keep: -1}", "`select` needs `keep` of 0 or more"),
        ("{lambda: [0.1], by: test}", "select.by"),
        ("{lambda: [0.1], seeds: [7]}", "the seed 7 both chooses lambda"),
        ("{lambda: [0.1], seeds: [8]}", "the seed 8 both chooses lambda"),
    ],
)
def test_a_selection_that_could_not_be_honest_is_refused(tmp_path, select, message):
    path = write(
        tmp_path,
        "e.yaml",
        f"upstreams: [a]\nvariants: [TAP]\nselect: {select}\nseeds: [7]\n"
        "protocols: [si5, {protocol: sd, seeds: [8]}]",
    )
    with pytest.raises(ConfigError, match=message):
        bench.read_experiment(path)


def test_the_seed_that_a_file_does_not_name_is_reported_too(tmp_path):
    text = f"upstreams: [a]\nvariants: [TAP]\nselect: {{lambda: [1.0], seeds: [{DEFAULT_SEED}]}}"
    with pytest.raises(ConfigError, match="both chooses lambda"):
        bench.read_experiment(write(tmp_path, "e.yaml", text))
