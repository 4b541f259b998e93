"""Which runs an audit probes, what of them, and how its columns are called."""

import numpy as np
import pytest
import torch
from audit_benches import make_audit_corpora, make_bench, quicken
from tiny_upstreams import make_hugging_face, make_wav2vec2, make_wavlm
from trained_folders import make_trained

import spknorm.compat  # noqa: F401 # before s3prl's modules
from spknorm.errors import NonFiniteError
from spknorm.probe.audit import audit, probing, table
from spknorm.probe.audit.pooling import own_model, pool_features, raw_model
from spknorm.probe.audit.questions import Asked, questions_for
from spknorm.probe.audit.runs import find_runs, name_variants
from spknorm.runs.trained import load


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    return make_audit_corpora(tmp_path_factory.mktemp("corpora"), each=6)


@pytest.fixture
def thorough():
    """The probes learn as in use, for tests of what they find."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Features of the same weights are read once for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _quick(request, cache, monkeypatch):
    if "thorough" not in request.fixturenames:
        quicken(monkeypatch)
    monkeypatch.setenv("SPKNORM_CACHE", str(cache))
    monkeypatch.setattr(probing, "KINDS", ("linear",))


def _run(folder, corpora, upstream, *, datarc=None, **options):
    manifest = {"corpus": "manifest", "manifest": str(corpora / "emotion.csv")}
    speakers = {"corpus": "manifest", "manifest": str(corpora / "speaker.csv")}
    return make_trained(
        folder, upstream, datarc={**manifest, **(datarc or {})}, speaker_corpus=speakers, **options
    )


def _columns(rows):
    return {row.variant for row in rows}


def test_the_speakers_that_are_probed_were_held_out_where_some_run_did_so(
    tmp_path, corpora, tiny_hubert
):
    _run(tmp_path / "b" / "TAP-sd", corpora, tiny_hubert, datarc={"protocol": "sd"})
    _run(tmp_path / "b" / "TAP-si5", corpora, tiny_hubert, datarc={"protocol": "si5"})
    _run(tmp_path / "b" / "SNP-sd", corpora, tiny_hubert, strategy="SNP", datarc={"protocol": "sd"})
    rows = audit(tmp_path / "b")
    assert {(row.run, row.variant) for row in rows if row.stage != "raw"} == {
        ("TAP-si5", "TAP"),
        ("SNP-sd", "SNP, speaker-dependent"),
    }


def test_the_first_fold_and_the_lowest_seed_are_probed(tmp_path, corpora, tiny_hubert):
    for name, fold in (("a", "fold2"), ("b", "fold1"), ("c", "fold3")):
        _run(tmp_path / "b" / name, corpora, tiny_hubert, datarc={"test_fold": fold})
    assert [run.folder.name for run in find_runs([tmp_path / "b"], every_run=False)] == ["b"]


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        (
            [{"method": {"speaker_lambda": 0.001}}, {"method": {"speaker_lambda": 0.0}}],
            {"raw", "TAP (speaker_lambda 0.001)", "TAP (speaker_lambda 0.0)"},
        ),
        (
            [{"modelrc": {"projector_dim": 8}}, {"modelrc": {"projector_dim": 16}}],
            {"raw", "TAP (projector_dim 8)", "TAP (projector_dim 16)"},
        ),
        (
            [{"selection": "last_hidden_state"}, {"selection": "hidden_states"}],
            {
                f"{stage} (feature_selection {selection})"
                for stage in ("raw", "TAP")
                for selection in ("last_hidden_state", "hidden_states")
            },
        ),
    ],
)
def test_runs_that_differ_in_what_changes_numbers_have_columns_of_their_own(
    options, columns, tmp_path, corpora, tiny_hubert
):
    for number, option in enumerate(options):
        _run(tmp_path / "b" / str(number), corpora, tiny_hubert, **option)
    rows = audit(tmp_path / "b")
    assert _columns(rows) == columns
    assert " runs)" not in table(rows)


def test_a_fourth_setting_that_differs_has_a_column_of_its_own_too(tmp_path, corpora, tiny_hubert):
    method = {"speaker_lambda": 0.0, "ceiling": None, "held_out_every": 5, "speaker_steps": 2}
    head = {"speaker_head": {"hidden": [8], "batch_norm": True, "dropout": 0.1}}
    for name, option in (
        ("a", {}),
        ("b", {"method": method}),
        ("c", {"method": method, "modelrc": {**head, "projector_dim": 8}}),
        ("d", {"modelrc": {"UtteranceLevel": {"post_net": {"select": "FrameLevel"}}}}),
    ):
        _run(tmp_path / "b" / name, corpora, tiny_hubert, **option)
    runs = find_runs([tmp_path / "b"], every_run=False)
    names = name_variants(runs)
    assert len({*names.values()}) == len(runs) == 4, names


def test_runs_that_differ_in_what_changes_nothing_are_one_variant(tmp_path, corpora, tiny_hubert):
    for workers in (0, 2):
        _run(tmp_path / "b" / str(workers), corpora, tiny_hubert, datarc={"num_workers": workers})
    assert len(find_runs([tmp_path / "b"], every_run=False)) == 1


def test_a_benchmark_within_a_benchmark_is_left_alone(tmp_path, corpora, tiny_hubert):
    _run(tmp_path / "b" / "run", corpora, tiny_hubert)
    _run(tmp_path / "b" / "choice" / "run", corpora, tiny_hubert, method={"speaker_lambda": 0.0})
    (tmp_path / "b" / "choice" / "summary.json").write_text("{}")
    assert len(find_runs([tmp_path / "b"], every_run=True)) == 1
    assert len(find_runs([tmp_path / "b" / "choice"], every_run=True)) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"selection": "hidden_states"},
        {"selection": "hidden_states", "layer_selection": 1},
        {"selection": "hidden_states", "normalize": True},
        {"selection": "hidden_states", "strategy": "SNP"},
        {"selection": "hidden_state_1"},
    ],
)
def test_what_is_probed_is_what_the_emotion_head_sees(options, tmp_path, corpora, tiny_hubert):
    folder = _run(tmp_path / "run", corpora, tiny_hubert, **options)
    (run,) = find_runs([folder], every_run=True)
    questions = questions_for(run, Asked(labels=()))
    for model in (own_model(run, "cpu"), raw_model(run, "cpu")):
        pooled = pool_features(run, model, questions, device="cpu")
        utterance = questions[-1].test[0]
        from spknorm.audio import load_audio

        wavs = [torch.from_numpy(load_audio(utterance.path))]
        with torch.no_grad():
            (seen,) = model.featurizer(wavs, model.upstream(wavs))
            seen = seen if model.gate is None else model.gate(seen)
        found = pooled.of(questions[-1], "test").layer(-1)[0]
        assert np.allclose(found, seen.mean(dim=0).numpy(), atol=1e-6)
    trained = load(folder)
    with torch.no_grad():
        (own,) = trained.features(wavs)
    first = pool_features(run, own_model(run, "cpu"), questions, device="cpu")
    assert np.allclose(first.of(questions[-1], "test").layer(-1)[0], own.mean(dim=0), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("wav2vec2_local", lambda folder: make_wav2vec2(folder / "w.pt")),
        ("hf_hubert_custom", lambda folder: make_hugging_face(folder / "hf", "hubert")),
        pytest.param(
            *("wavlm_local", lambda folder: make_wavlm(folder / "w.pt")), marks=pytest.mark.slow
        ),
        pytest.param(
            *("hf_wav2vec2_custom", lambda folder: make_hugging_face(folder / "hf", "wav2vec2")),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_upstreams_of_any_family_are_audited(name, make, tmp_path, corpora):
    source = make(tmp_path)
    make_bench(tmp_path / "b", corpora, source, "TAP", "SNP-frozen", upstream=name)
    rows = audit(tmp_path / "b")
    assert _columns(rows) == {"raw", "TAP", "SNP (frozen)"}
    by_stage = {
        stage: [row.accuracy for row in rows if row.stage == stage and row.control is None]
        for stage in ("raw", "TAP")
    }
    assert len(by_stage["TAP"]) == len(by_stage["raw"]) > 0
    from spknorm import predict

    heard = predict.load(tmp_path / "b" / "TAP").predict(np.ones(8000, np.float32) * 0.1, 16000)
    assert sum(heard.values()) == pytest.approx(1.0)


def test_erasures_are_stages_of_their_own(tmp_path, corpora, tiny_hubert, thorough):
    folder = tmp_path / "b"
    make_bench(folder, corpora, tiny_hubert, "none-frozen")
    for name, method in (
        ("leace", {"erasure": "leace", "erasure_rank": 2}),
        ("znorm", {"erasure": "znorm"}),
    ):
        _run(folder / name, corpora, tiny_hubert, strategy="none", frozen=True, method=method)
    rows = audit(folder)
    assert _columns(rows) == {"raw", "leace (frozen)", "znorm (frozen)"}
    wanted = ("speaker", "speaker", "linear", "head", None)
    found = {
        row.stage: row.accuracy
        for row in rows
        if (row.corpus, row.label, row.probe, row.layer, row.control) == wanted
    }
    assert set(found) == {"raw", "leace", "znorm"}
    assert found["znorm"] <= 0.5 < found["raw"]


def test_an_upstream_that_gives_nan_is_an_error_with_the_run_and_the_utterances(
    tmp_path, corpora, tiny_hubert
):
    folder = _run(tmp_path / "run", corpora, tiny_hubert)
    state = torch.load(folder / "dev-best.ckpt", weights_only=True)
    state["Upstream"]["model.encoder.layer_norm.weight"][0] = float("nan")
    torch.save(state, folder / "dev-best.ckpt")
    with pytest.raises(NonFiniteError, match="gives NaN or infinity for 40 of 40 utterances") as e:
        audit(folder)
    assert str(e.value).startswith(f"{folder}, TAP: ")


def test_a_probe_and_the_adversary_keep_the_same_speakers(tmp_path):
    from spknorm.corpora.records import Utterance
    from spknorm.probe.corpus import split_by_label

    counts = {"a": (9, 1, 1), "b": (8, 20, 20), "c": (10, 1, 1)}
    records = [
        Utterance(id=f"{s}{p}{n}", path=tmp_path / f"{s}{p}{n}.wav", speaker=s, split=p)
        for s, sizes in counts.items()
        for p, size in zip(("train", "dev", "test"), sizes, strict=True)
        for n in range(size)
    ]
    assert split_by_label(records, "speaker", max_classes=2).names == ("a", "c")
    tied = [u for u in records if u.speaker != "c"] + [
        Utterance(id=f"d{p}{n}", path=tmp_path / f"d{p}{n}.wav", speaker="d", split=p)
        for p, size in (("train", 9), ("dev", 30), ("test", 30))
        for n in range(size)
    ]
    assert split_by_label(tied, "speaker", max_classes=2).names == ("a", "d")
