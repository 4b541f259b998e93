"""Lambda is chosen on dev and on seeds of its own, by one rule that is written down."""

import json

import pytest

from spknorm import bench
from spknorm.cli import main
from spknorm.errors import ConfigError
from spknorm.files import write_json

EXPERIMENT = """\
name: choosing
upstreams: [hubert_base, {name: hubert_local, ckpt: a.pt, label: mine}]
variants:
  - {strategy: none}
  - {name: SNP-gate-alone, strategy: SNP, speaker_lambda: 0.0}
  - {strategy: SNP}
  - {strategy: SNP, shuffled: true}
  - {strategy: TAP}
seeds: [1]
select: {lambda: [0.1, 0.3, 1.0], by: leakage, keep: 1.0, seeds: [900, 901]}
"""

# upstream and strategy: lambda -> dev WA, leakage
MEASURED = {
    ("hubert_base", "SNP"): {0: (0.60, 0.50), 0.1: (0.60, 0.45), 0.3: (0.595, 0.4), 1: (0.4, 0.1)},
    ("hubert_base", "TAP"): {0: (0.60, 0.50), 0.1: (0.61, 0.45), 0.3: (0.60, 0.3), 1: (0.6, 0.2)},
    ("mine", "SNP"): {0: (0.60, 0.50), 0.1: (0.40, 0.45), 0.3: (0.30, 0.4), 1: (0.2, 0.1)},
    ("mine", "TAP"): {0: (0.60, 0.50), 0.1: (0.60, 0.55), 0.3: (0.60, 0.52), 1: (0.1, 0.1)},
}


@pytest.fixture
def experiment(tmp_path):
    (tmp_path / "choosing.yaml").write_text(EXPERIMENT)
    return bench.read_experiment(tmp_path / "choosing.yaml")


@pytest.fixture
def probe(experiment, tmp_path):
    """Write the candidates' results; return what probes them, which counts what it was asked."""
    leakages = {}
    for cell in bench.expand(bench.candidates_of(experiment)):
        method = cell.changes["downstream_expert"]["spknorm"]
        label = "mine" if cell.name.startswith("mine") else "hubert_base"
        wa, leakage = MEASURED[label, method["strategy"]][method["speaker_lambda"]]
        folder = tmp_path / "selection" / cell.name
        wobble = 0.01 if cell.seed == 901 else -0.01
        write_json(folder / "result.json", {"dev": {"wa": wa + wobble}, "test": None})
        leakages[folder] = leakage + wobble
    asked = []

    def leakage(folder):
        asked.append(folder)
        return leakages[folder]

    leakage.asked = asked
    return leakage


def test_candidates_are_every_adversary_with_each_lambda_and_with_none(experiment):
    cells = bench.expand(bench.candidates_of(experiment))
    of_one = [cell for cell in cells if cell.name.startswith("hubert_base") and cell.seed == 900]
    assert [cell.variant for cell in of_one] == [
        *(f"SNP-lambda{one}" for one in ("0", "0.1", "0.3", "1")),
        *(f"TAP-lambda{one}" for one in ("0", "0.1", "0.3", "1")),
    ]
    assert {cell.seed for cell in cells} == {900, 901}
    assert {cell.fold for cell in cells} == {"fold1"}


def test_the_choice_leaves_least_of_the_speaker_within_the_points_that_may_be_lost(
    experiment, probe, tmp_path
):
    choices = bench.choose(experiment, tmp_path, leakage=probe)
    assert {(one.upstream, one.variant): one.speaker_lambda for one in choices} == {
        ("hubert_base", "SNP"): 0.3,  # 1.0 would lose 20 points, 0.3 loses half a point
        ("hubert_base", "TAP"): 1.0,
        ("mine", "SNP"): 0.1,
        ("mine", "TAP"): 0.3,
    }
    doubts = {(one.upstream, one.variant): one.doubt for one in choices}
    assert doubts["hubert_base", "SNP"] is None
    assert doubts["mine", "SNP"] == (
        "every lambda lost more than 1 points of dev WA: the smallest was taken"
    )
    assert doubts["mine", "TAP"] == (
        "no lambda that was kept leaves less of the speaker than lambda 0"
    )
    first = choices[0].candidates
    assert [one.kept for one in first] == [True, True, True, False]
    assert first[2].dev_wa == pytest.approx(0.595)
    assert first[2].dev_wa_std == pytest.approx(0.01 * 2**0.5)
    assert first[2].num_runs == 2


def test_the_choice_is_written_down_and_not_made_twice(experiment, probe, tmp_path):
    choices = bench.choose(experiment, tmp_path, leakage=probe)
    content = json.loads((tmp_path / "selection.json").read_text())
    assert content["schema"] == "spknorm.selection/1"
    assert len(content["choices"]) == 4
    assert len(content["choices"][0]["candidates"]) == 4
    asked = len(probe.asked)
    assert bench.choose(experiment, tmp_path, leakage=probe) == choices
    assert len(probe.asked) == asked == 32


def test_reported_runs_take_the_lambda_of_their_upstream_and_so_does_the_control(
    experiment, probe, tmp_path
):
    chosen = bench.with_choices(experiment, bench.choose(experiment, tmp_path, leakage=probe))
    found = {
        (cell.name.split("-")[0], cell.variant): cell.changes["downstream_expert"]["spknorm"].get(
            "speaker_lambda"
        )
        for cell in bench.expand(chosen)
    }
    assert found == {
        ("hubert_base", "none"): None,
        ("hubert_base", "SNP-gate-alone"): 0.0,
        ("hubert_base", "SNP"): 0.3,
        ("hubert_base", "SNP-shuffled"): 0.3,
        ("hubert_base", "TAP"): 1.0,
        ("mine", "none"): None,
        ("mine", "SNP-gate-alone"): 0.0,
        ("mine", "SNP"): 0.1,
        ("mine", "SNP-shuffled"): 0.1,
        ("mine", "TAP"): 0.3,
    }


def test_a_candidate_without_a_result_is_named(experiment, probe, tmp_path):
    folder = tmp_path / "selection" / "hubert_base-SNP-lambda0.1-si5-fold1-seed901"
    (folder / "result.json").unlink()
    with pytest.raises(ConfigError, match=r"SNP-lambda0\.1-si5-fold1-seed901 has no result"):
        bench.choose(experiment, tmp_path, leakage=probe)


CHOOSING_ON_THE_DEMO = """\
name: choosing
config:
  runner: {eval_step: 2, log_step: 2, save_step: 4, total_steps: 4, gradient_accumulate_steps: 1}
  downstream_expert:
    datarc: {corpus: demo, num_workers: 0}
    speaker_corpus: {corpus: demo}
upstreams: [spknorm_demo_hubert]
variants: [{strategy: SNP, frozen: true}, {strategy: SNP, frozen: true, shuffled: true}]
protocols: [{protocol: si5, folds: [fold1]}]
select: {lambda: [0.5], keep: 100.0, seeds: [900]}
"""


@pytest.mark.slow
def test_one_command_chooses_lambda_and_then_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "choosing.yaml").write_text(CHOOSING_ON_THE_DEMO)
    assert main(["bench", "choosing.yaml"]) == 0
    content = json.loads((tmp_path / "result/choosing/selection.json").read_text())
    (choice,) = content["choices"]
    assert [one["speaker_lambda"] for one in choice["candidates"]] == [0.0, 0.5]
    assert all(1 / 40 <= one["leakage"] <= 1 for one in choice["candidates"])
    assert choice["speaker_lambda"] == 0.5
    runs = json.loads((tmp_path / "result/choosing/summary.json").read_text())["runs"]
    assert [run["speaker_lambda"] for run in runs] == [0.5, 0.5]
    assert "spknorm_demo_hubert SNP-frozen: lambda 0.5" in capsys.readouterr().err
    tested = (tmp_path / "result/choosing/selection").glob("*/test_*")
    assert not list(tested)  # choosing saw no test set


@pytest.mark.parametrize("select", ["", ", folds: [3]"])
def test_lambda_is_chosen_on_the_first_fold_that_the_protocol_or_the_selection_names(
    tmp_path, select
):
    path = tmp_path / "choosing.yaml"
    path.write_text(
        "upstreams: [a]\nvariants: [TAP]\nprotocols: [{protocol: loso, folds: [7, 8]}]\n"
        f"select: {{lambda: [1]{select}}}\n"
    )
    candidates = bench.expand(bench.candidates_of(bench.read_experiment(path)))
    assert {one.fold for one in candidates} == {"fold3" if select else "fold7"}
