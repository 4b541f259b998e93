import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from spknorm.config import parse
from spknorm.corpora.records import Utterance
from spknorm.features import FrozenFeatures, fingerprint, plan, pooled_features
from spknorm.features.reader import Reading, upstream_reader
from spknorm.features.store import FeatureStore, cache_root, human_size
from spknorm.method.model import Heads
from spknorm.schema import UpstreamConfig


def config(**sections):
    expert = {"spknorm": {"strategy": "none"}, **sections.pop("expert", {})}
    return parse({"downstream_expert": expert, **sections})


@pytest.fixture
def upstream(tiny_hubert):
    from s3prl.upstream.hubert.expert import UpstreamExpert

    return Counting(UpstreamExpert(str(tiny_hubert))).eval()


class Counting(torch.nn.Module):
    """Counts the utterances that pass through an upstream."""

    def __init__(self, upstream):
        super().__init__()
        self.upstream = upstream
        self._passes = 0

    @property
    def passes(self):
        return self._passes

    def get_downsample_rates(self, key):
        return self.upstream.get_downsample_rates(key)

    def forward(self, wavs):
        self._passes += len(wavs)
        return self.upstream(wavs)


@pytest.fixture
def corpus(tmp_path, tone):
    utterances = []
    for number, seconds in enumerate((0.5, 0.9, 0.5, 1.3)):
        path = tmp_path / "audio" / f"u{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, tone(seconds, pitch=150 + 40 * number, seed=number), 16000)
        utterances.append(Utterance(id=f"u{number}", path=path, emotion="neu"))
    return utterances


@pytest.fixture
def where(tmp_path):
    return UpstreamConfig(cache_dir=str(tmp_path / "cache"))


def featurizer_of(upstream, selection="hidden_states", **options):
    from s3prl.upstream.interfaces import Featurizer

    featurizer = Featurizer(upstream, selection, upstream_device="cpu", **options)
    if hasattr(featurizer, "weights"):
        torch.nn.init.normal_(featurizer.weights, generator=torch.Generator().manual_seed(1))
    return featurizer


def wavs_of(utterances):
    return [
        torch.from_numpy(soundfile.read(utterance.path, dtype="float32")[0])
        for utterance in utterances
    ]


def heads_for(dim, **options):
    torch.manual_seed(0)
    return Heads(dim, num_emotions=4, num_speakers=3, projector_dim=8, **options)


@pytest.mark.parametrize(
    ("sections", "trainable", "expected"),
    [
        ({}, False, "pooled"),
        ({}, True, "off"),
        ({"upstream": {"cache": "off"}}, False, "pooled"),  # in memory
        ({"upstream": {"packed": False}}, False, "off"),
        ({"runner": {"engine": "s3prl"}}, False, "off"),
        ({"expert": {"spknorm": {"strategy": "SNP"}}}, False, "frames"),
        ({"expert": {"modelrc": {"select": "NonLinearProjection"}}}, False, "frames"),
        (
            {
                "expert": {
                    "modelrc": {
                        "select": "DeepModel",
                        "DeepModel": {
                            "model_type": "FCN",
                            "hidden_dim": 8,
                            "kernel_size": 3,
                            "padding": 1,
                            "pooling": 5,
                            "dropout": 0.1,
                        },
                    }
                }
            },
            False,
            "frames",
        ),
        (
            {"expert": {"modelrc": {"UtteranceLevel": {"pooling": "AttentivePooling"}}}},
            False,
            "frames",
        ),
        (
            {
                "expert": {
                    "modelrc": {
                        "UtteranceLevel": {
                            "pooling": "MeanPooling",
                            "pre_net": {"select": "FrameLevel"},
                        }
                    }
                }
            },
            False,
            "frames",
        ),
    ],
)
def test_what_may_be_kept_follows_from_the_configuration(sections, trainable, expected):
    assert plan(config(**sections), upstream_trainable=trainable) == expected


@pytest.mark.parametrize("selection", ["hidden_states", "last_hidden_state"])
@pytest.mark.parametrize("normalize", [False, True])
def test_pooled_features_give_the_losses_and_gradients_of_the_frames(
    upstream, corpus, where, selection, normalize
):
    featurizer = featurizer_of(upstream, selection, normalize=normalize)
    heads = heads_for(32, strategy="none")
    labels = torch.tensor([0, 2])
    same_length = [corpus[0], corpus[2]]
    wavs = wavs_of(same_length)
    with torch.no_grad():
        output = upstream(wavs)
    parameters = [*featurizer.parameters(), *heads.parameters()]
    expected = heads.emotion(featurizer(wavs, output), labels).loss
    expected_gradients = torch.autograd.grad(expected, parameters)

    frozen = FrozenFeatures(upstream, featurizer, kind="pooled", config=where)
    assert frozen.prepare("emotion", corpus)
    loss = heads.emotion(frozen.features("emotion", ["u0", "u2"]), labels).loss
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    for ours, theirs in zip(torch.autograd.grad(loss, parameters), expected_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_frames_are_those_of_each_utterance_alone(upstream, corpus, where):
    featurizer = featurizer_of(upstream)
    frozen = FrozenFeatures(upstream, featurizer, kind="frames", config=where)
    frozen.prepare("emotion", corpus)
    for utterance, frames in zip(
        corpus, frozen.features("emotion", [u.id for u in corpus]), strict=True
    ):
        wavs = wavs_of([utterance])
        with torch.no_grad():
            (alone,) = featurizer(wavs, upstream(wavs))
        torch.testing.assert_close(frames, alone)


def test_a_layer_selection_keeps_that_layer_alone(upstream, corpus, where):
    featurizer = featurizer_of(upstream, layer_selection=1)
    frozen = FrozenFeatures(upstream, featurizer, kind="frames", config=where)
    frozen.prepare("emotion", corpus)
    wavs = wavs_of(corpus[:1])
    with torch.no_grad():
        (alone,) = featurizer(wavs, upstream(wavs))
    torch.testing.assert_close(frozen.features("emotion", ["u0"])[0], alone)


def test_each_utterance_passes_once_whatever_the_fold_or_the_process(upstream, corpus, where):
    pooled_features(upstream, corpus[:2], config=where)
    pooled_features(upstream, corpus, config=where)
    again = pooled_features(upstream, corpus[::-1], config=where)
    assert upstream.passes == len(corpus)
    assert again.shape == (4, 3, 32)
    np.testing.assert_array_equal(again[::-1], pooled_features(upstream, corpus, config=where))


def test_a_probe_and_a_run_share_what_was_computed(upstream, corpus, where):
    featurizer = featurizer_of(upstream)
    before = upstream.passes
    pooled_features(upstream, corpus, config=where)
    FrozenFeatures(upstream, featurizer, kind="pooled", config=where).prepare("emotion", corpus)
    assert upstream.passes - before == len(corpus)


def test_without_a_cache_nothing_is_written(upstream, corpus, tmp_path):
    off = UpstreamConfig(cache="off", cache_dir=str(tmp_path / "cache"))
    kept = UpstreamConfig(cache_dir=str(tmp_path / "kept"))
    np.testing.assert_array_equal(
        pooled_features(upstream, corpus, config=off),
        pooled_features(upstream, corpus, config=kept),
    )
    assert not (tmp_path / "cache").exists()


def test_a_gate_is_applied_before_the_mean(upstream, corpus, where):
    gate = torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.ReLU())
    gated = pooled_features(upstream, corpus[:1], gate=gate, config=where)
    with torch.no_grad():
        layers = upstream(wavs_of(corpus[:1]))["hidden_states"]
        expected = torch.stack([gate(layer[0]).mean(dim=0) for layer in layers])
    torch.testing.assert_close(torch.from_numpy(gated[0]), expected)


def test_changed_weights_are_another_upstream(upstream, corpus, where):
    before = pooled_features(upstream, corpus, config=where)
    with torch.no_grad():
        upstream.upstream.model.encoder.layers[1].fc2.bias[0] += 0.1
    after = pooled_features(upstream, corpus, config=where)
    assert upstream.passes == 2 * len(corpus)
    assert np.abs(after - before).max() > 1e-3


def test_settings_that_the_weights_do_not_tell_are_part_of_the_key(upstream):
    before = fingerprint(upstream)
    upstream.upstream.task_cfg.normalize = True
    changed = fingerprint(upstream)
    upstream.upstream.task_cfg.normalize = False
    upstream.train()
    assert changed != before
    assert fingerprint(upstream) == before


def test_changed_audio_under_the_same_name_is_read_again(upstream, corpus, where, tone):
    before = pooled_features(upstream, corpus, config=where)
    soundfile.write(corpus[0].path, tone(0.5, pitch=400, seed=9), 16000)
    after = pooled_features(upstream, corpus, config=where)
    assert np.abs(after[0] - before[0]).max() > 1e-6
    np.testing.assert_array_equal(after[1:], before[1:])


def test_crops_are_fixed_and_part_of_the_key(upstream, corpus, where):
    whole = pooled_features(upstream, corpus, config=where)
    cropped = pooled_features(upstream, corpus, config=where, max_seconds=0.6)
    np.testing.assert_array_equal(
        pooled_features(upstream, corpus, config=where, max_seconds=0.6), cropped
    )
    np.testing.assert_allclose(cropped[[0, 2]], whole[[0, 2]], atol=1e-6)  # they are shorter
    assert np.abs(cropped[[1, 3]] - whole[[1, 3]]).max() > 1e-6


def test_a_damaged_pack_is_told_and_computed_again(upstream, corpus, where, tmp_path, caplog):
    before = pooled_features(upstream, corpus, config=where)
    (pack,) = (tmp_path / "cache").rglob("*.npy")
    content = bytearray(pack.read_bytes())
    content[-5] ^= 1
    pack.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        after = pooled_features(upstream, corpus, config=where)
    assert "its content does not match its checksum): they are computed again." in caplog.text
    np.testing.assert_array_equal(after, before)


def test_a_pack_without_its_index_was_never_finished(upstream, corpus, where, tmp_path):
    before = pooled_features(upstream, corpus, config=where)
    (index,) = (tmp_path / "cache").rglob("*.json")
    index.unlink()
    np.testing.assert_array_equal(pooled_features(upstream, corpus, config=where), before)


def test_what_exceeds_the_limit_is_not_cached_and_told(upstream, corpus, tmp_path, caplog):
    small = UpstreamConfig(cache_dir=str(tmp_path), cache_limit_gb=1e-6)
    frozen = FrozenFeatures(upstream, featurizer_of(upstream), kind="frames", config=small)
    with caplog.at_level(logging.WARNING):
        assert not frozen.prepare("emotion", corpus)
    assert (
        "The features of 4 utterances are not cached: it would take 59 kB, above the limit of "
        "1 kB (config.upstream.cache_limit_gb)." in caplog.text
    )
    assert not list(tmp_path.rglob("*.npy"))


def test_the_size_is_announced_before_the_cache_is_filled(upstream, corpus, where, caplog):
    with caplog.at_level(logging.INFO):
        pooled_features(upstream, corpus, config=where)
    assert "features of 4 utterances once: 1.54 kB in" in caplog.text


def test_an_upstream_without_the_selection_says_what_it_has(upstream, corpus, where):
    with pytest.raises(
        ValueError, match=r"^This upstream has no `PR` \(-s\); it has hidden_states, "
    ):
        pooled_features(upstream, corpus, selection="PR", config=where)


def test_training_mode_is_left_out_of_features_and_given_back(upstream, corpus, where):
    upstream.train()
    first = pooled_features(upstream, corpus, config=where)
    assert upstream.training
    upstream.eval()
    off = UpstreamConfig(cache="off")
    np.testing.assert_array_equal(pooled_features(upstream, corpus, config=off), first)


def test_utterances_of_one_length_may_pass_together(upstream, corpus, where):
    reading = Reading("hidden_states", None, False, 320, pooled=True)
    reader = upstream_reader(upstream, reading, config=where)
    one_by_one = reader.read(corpus)
    reader._group_size = 16  # as on an accelerator
    np.testing.assert_allclose(reader.read(corpus), one_by_one, atol=1e-5)


def test_packs_are_limited_in_size_and_found_again(tmp_path):
    arrays = {f"k{n}": np.full((n + 1, 2), n, dtype=np.float32) for n in range(5)}
    store = FeatureStore(tmp_path, about={"what": "test"}, pack_bytes=30)
    store.add(arrays.items())
    assert len(list(tmp_path.glob("*.npy"))) == 3
    again = FeatureStore(tmp_path, about={})
    assert again.missing([*arrays, "other"]) == ["other"]
    for key, array in arrays.items():
        np.testing.assert_array_equal(again[key], array)
        assert isinstance(again[key].base, np.memmap)
    index = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert index["about"] == {"what": "test"}


def test_a_fill_that_is_asked_to_end_keeps_what_it_has(tmp_path):
    def items():
        yield from ((str(number), np.full((2, 3), number)) for number in range(3))
        raise SystemExit(138)

    with pytest.raises(SystemExit):
        FeatureStore(tmp_path, about={}).add(items())
    assert FeatureStore(tmp_path, about={}).missing(["0", "1", "2", "3"]) == ["3"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    store = FeatureStore(tmp_path / "file" / "sub", about={})
    with pytest.raises(ValueError, match=r"sub cannot be written \(Not a directory\)\. Name"):
        store.add([("k", np.zeros((1, 1), dtype=np.float32))])


def test_a_full_disk_is_foreseen(tmp_path):
    store = FeatureStore(tmp_path, about={})
    assert "free, and 1e+09 GB are needed" in store.room_for(1e18, limit_bytes=1e30)


def test_the_cache_folder_is_the_named_one_then_the_environment_then_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SPKNORM_CACHE", raising=False)
    assert cache_root() == tmp_path / ".cache" / "spknorm"
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "env"))
    assert cache_root() == tmp_path / "env"
    assert cache_root(str(tmp_path / "named")) == tmp_path / "named"


@pytest.mark.parametrize(
    ("size", "text"), [(12, "12 B"), (15360, "15.4 kB"), (2.5e6, "2.5 MB"), (3e10, "30 GB")]
)
def test_sizes_are_said_as_people_say_them(size, text):
    assert human_size(size) == text


_RANK = """
import sys
from pathlib import Path
import numpy as np, torch
import spknorm.compat
from s3prl.upstream.hubert.expert import UpstreamExpert
from spknorm.corpora.records import Utterance
from spknorm.features import pooled_features
from spknorm.schema import UpstreamConfig
rank, folder, ckpt, limit = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])
store = f"file://{folder}/store{limit}"
torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
upstream = UpstreamExpert(ckpt).eval()
passes = []
upstream.register_forward_pre_hook(lambda module, args: passes.append(len(args[0])))
utterances = [Utterance(id=p.stem, path=p) for p in sorted((folder / "audio").glob("*.wav"))]
config = UpstreamConfig(cache_dir=str(folder / "cache"), cache_limit_gb=limit)
np.save(folder / f"{rank}.npy", pooled_features(upstream, utterances, config=config))
print(sum(passes))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "expected"), [(1.0, [2, 2]), (1e-9, [5, 5])])
def test_two_processes_share_the_work_or_agree_not_to_cache(
    corpus, tiny_hubert, tmp_path, limit, expected
):
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _RANK, str(rank), str(tmp_path),
             str(tiny_hubert), str(limit)],
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parent.parent,
        )
        for rank in range(2)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert [int(output.split()[-1]) for output in outputs] == expected  # one judged the room
    np.testing.assert_array_equal(np.load(tmp_path / "0.npy"), np.load(tmp_path / "1.npy"))
