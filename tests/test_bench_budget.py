"""What a grid needs, told before it is started, and held against a run that was measured."""

import json
import resource
import subprocess

import pytest
import tiny_upstreams

from spknorm import bench, config, controlled, registry
from spknorm.bench import superb
from spknorm.bench.budget import budget, lines_of, measured_seconds, refuse_what_cannot_fit
from spknorm.bench.sizes import memory_bytes, shape_of
from spknorm.controlled import rivals
from spknorm.errors import ConfigError
from spknorm.files import write_json

LARGE = """\
name: large
upstreams: [hubert_large_ll60k]
variants: [{strategy: none}, {strategy: TAP, update: literal}]
protocols: [{protocol: si5, folds: [fold1]}]
"""


@pytest.fixture
def cells(tmp_path):
    (tmp_path / "large.yaml").write_text(LARGE)
    return bench.expand(tmp_path / "large.yaml")


def test_shapes_of_well_known_upstreams_have_their_published_sizes():
    published = {
        "hubert_base": 94.7e6,
        "hubert_large_ll60k": 316.6e6,
        "wavlm_large": 315.5e6,
        "wav2vec2_base_960": 95.0e6,
        "distilhubert": 23.5e6,
        "xls_r_1b": 963e6,
    }
    for name, parameters in published.items():
        assert shape_of(name).parameters == pytest.approx(parameters, rel=0.1), name
    assert shape_of("fbank") is None


def test_a_local_checkpoint_s_size_is_that_of_its_file(tmp_path, tiny_hubert):
    shape = shape_of("hubert_local", str(tiny_hubert))
    assert shape.parameters * 4 == pytest.approx(tiny_hubert.stat().st_size, rel=0.01)


def test_a_fine_tuned_large_upstream_needs_weights_and_moments_twice(cells):
    needs = budget(cells, {})
    assert needs.num_runs == 2
    assert needs.disk_gb == pytest.approx(2 * 2 * 315e6 * 12 / 1e9, rel=0.05)
    assert needs.hours is None
    assert budget(cells[:1], {}).memory_gb < needs.memory_gb  # TAP can take stage 1 back


def test_hours_come_from_runs_that_were_measured_scaled_from_a_quick_one(cells, tmp_path):
    write_json(tmp_path / "large" / cells[0].name / "result.json", {"seconds": 3600, "steps": 9})
    quick = tmp_path / "large-quick" / cells[1].name / "result.json"
    total = 20 * 100
    cells = [
        one.__class__(**{**vars(one), "changes": {**one.changes, "runner": {"total_steps": total}}})
        for one in cells
    ]
    write_json(quick, {"seconds": 36, "steps": 20})
    found = measured_seconds(cells, tmp_path / "large")
    assert found == {"none": 3600.0, "TAP": 3600.0}
    assert budget(cells, found).hours == 2.0


def test_gpu_hours_are_an_estimate_until_a_run_is_measured(cells, tmp_path):
    """Table 1's runs of docs/scale.md: 4000 steps of 32 utterances, 14.3 TFLOP each."""
    steps = {"total_steps": 4000, "gradient_accumulate_steps": 8}
    changes = {"runner": steps, "downstream_expert": {"datarc": {"train_batch_size": 4}}}
    cells = [
        one.__class__(**{**vars(one), "changes": config.merge(one.changes, changes)})
        for one in cells
    ]
    needs = budget(cells, {})
    emotion_only = 4000 * 14.3e12 / 200e12 / 3600
    of_none, of_tap = (budget([cell], {}).gpu_hours for cell in cells)
    assert of_none == pytest.approx(emotion_only, rel=0.02)
    started = 2 * (2.4e9 + 50 * 315e6) * 145_265 * 4.0 / 200e12 / 3600  # the head's start
    assert of_tap - started == pytest.approx(emotion_only * (1 + 128 / 144), rel=0.02)
    assert lines_of(needs, tmp_path)[2] == (
        f"Time: about {needs.gpu_hours:.2f} GPU hours (an estimate: a step's operations at an "
        "assumed 200 TFLOP/s) for 2 runs, one after another. Known better when a run, or a "
        "--quick of it, is complete"
    )
    measured = lines_of(budget(cells, {"none": 3600.0}), tmp_path)[2]
    assert measured == ("Time: at most about 2.0 hours of one device for 2 runs, one after another")
    frozen = [one.__class__(**{**vars(one), "frozen": True}) for one in cells]
    once = 2 * (2.4e9 + 50 * 315e6) * 4.5 * 10_039 / 200e12 / 3600  # all of IEMOCAP
    assert budget(frozen[:1], {}).gpu_hours == pytest.approx(once, rel=0.02)


def test_what_does_not_fit_on_the_disk_is_said(cells, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10e9})())
    first = lines_of(budget(cells, {}), tmp_path)[0]
    assert first == (
        "Disk: about 15 GB of checkpoints; 10 GB are free: they do not fit. "
        "Choose another folder (--out), or config.runner.keep"
    )


def test_a_grid_that_cannot_fit_is_refused_before_its_first_run(cells, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10e9})())
    with pytest.raises(ConfigError) as caught:
        refuse_what_cannot_fit(budget(cells, {}), tmp_path)
    assert str(caught.value) == (
        "The 2 runs to come keep about 15 GB of checkpoints, but 10 GB are free at "
        f"{tmp_path}: choose another folder (--out), or keep less of a complete run "
        "(config.runner.keep: weights or none)."
    )
    refuse_what_cannot_fit(budget(cells[:1], {}), tmp_path)


@pytest.mark.parametrize(
    ("keep", "checkpoints"), [("last", 4 / 3), ("best", 1), ("weights", 1 / 3), ("none", 0)]
)
def test_what_is_kept_decides_about_the_disk(cells, keep, checkpoints):
    changed = [
        one.__class__(**{**vars(one), "changes": {**one.changes, "runner": {"keep": keep}}})
        for one in cells
    ]
    assert budget(changed, {}).disk_gb == pytest.approx(
        budget(cells, {}).disk_gb / 2 * checkpoints, rel=1e-6
    )


def test_an_upstream_of_unknown_size_is_named(tmp_path):
    (tmp_path / "e.yaml").write_text("upstreams: [vggish]\nvariants: [{strategy: none}]")
    needs = budget(bench.expand(tmp_path / "e.yaml"), {})
    assert needs.unknown == ("vggish",)
    assert lines_of(needs, tmp_path)[-1] == "Not counted, since their size is not known: vggish"


def test_memory_goes_with_the_piece_of_a_speaker_batch_not_with_the_batch(cells):
    def gigabytes(**speakers):
        changes = {"downstream_expert": {"speaker_corpus": speakers}}
        settings = config.merge(config.load_yaml(registry.config_path("emotion_spknorm")), changes)
        return memory_bytes(shape_of("hubert_base"), config.parse(settings), frozen=False) / 1e9

    assert gigabytes(batch_size=64) == gigabytes(batch_size=32)
    assert gigabytes(micro_batch_size=None) > 1.5 * gigabytes(micro_batch_size=8)
    assert gigabytes(micro_batch_size=16, max_seconds=2.0) == gigabytes(max_seconds=4.0)


BASE = """\
name: base
config:
  runner: {{total_steps: 1, eval_step: 1, log_step: 1, save_step: 1,
           evaluate_ratio: 0.02, eval_dataloaders: [dev], gradient_accumulate_steps: 1}}
  downstream_expert:
    datarc: {{corpus: demo, num_workers: 0, train_batch_size: 16}}
    speaker_corpus: {{corpus: demo, batch_size: 16}}
upstreams: [{{name: hubert_local, ckpt: {ckpt}, label: base}}]
variants: [{{strategy: TAP, update: literal}}]
protocols: [{{protocol: si5, folds: [fold1]}}]
"""


@pytest.mark.slow
def test_a_budget_is_within_a_factor_of_two_of_a_run_that_was_measured(tmp_path):
    ckpt = tiny_upstreams.make_hubert(tmp_path / "base.pt", base=True)
    (tmp_path / "base.yaml").write_text(BASE.format(ckpt=ckpt))
    (cell,) = bench.expand(tmp_path / "base.yaml")
    needs = budget([cell], {})
    folder = tmp_path / "run"
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    subprocess.run([*cell.command(folder), "--device", "cpu"], check=True)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    assert memory > before / 1e6 or before / 1e6 < needs.memory_gb / 2  # it was this child
    disk = sum(path.stat().st_size for path in folder.glob("*.ckpt")) / 1e9
    assert json.loads((folder / "result.json").read_text())["steps"] == 1
    assert disk / 2 < needs.disk_gb < disk * 2
    assert memory / 2 < needs.memory_gb < memory * 2


def test_tables_of_models_tell_what_they_take_too(tmp_path):
    shared = registry.shared_configs()
    needs = controlled.needs(controlled.read_plan(shared["controlled.yaml"]))
    seconds = 10 * 15 + 2000 * 2 + 312 * 12
    assert (needs.num_runs, needs.hours) == (2312, pytest.approx(seconds / 3600))
    whole, quick = (
        rivals.needs(rivals.read_plan(shared["rivals.yaml"], quick=only)) for only in (False, True)
    )
    assert quick.hours < whole.hours / 10
    path = tmp_path / "table.yaml"
    path.write_text(
        "kind: superb\ntasks: [{name: ER, task: emotion}, {name: SID, task: voxceleb1}]\n"
        "upstreams: [{name: raw, upstream: hubert_base}, {name: other, upstream: vggish}]\n"
    )
    needs = superb.needs(superb.read_plan(path))
    assert (needs.num_runs, needs.unknown) == (4, ("other",))
    heard = 30_000 * 8 * 4 + 200_000 * 4 * 8  # utterances of 4.5 s, forward alone
    once = 2 * (2.4e9 + 50 * 94.7e6) * 4.5
    assert needs.gpu_hours == pytest.approx(heard * once / 200e12 / 3600, rel=0.02)
