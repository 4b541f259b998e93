"""What a cache of features holds, finds again, and refuses."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from kept_features import (
    corpus,  # noqa: F401 (fixtures)
    featurizer_of,
    pooled_features,
    upstream,  # noqa: F401
    where,  # noqa: F401
)

from spknorm.features import FrozenFeatures, fingerprint
from spknorm.features.store import FeatureStore, human_size
from spknorm.files import cache_root
from spknorm.schema import UpstreamConfig


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
    FrozenFeatures(upstream, featurizer, kind="pooled", config=where).keep(corpus)
    assert upstream.passes - before == len(corpus)


def test_without_a_cache_nothing_is_written(upstream, corpus, tmp_path):
    off = UpstreamConfig(cache="off", cache_dir=str(tmp_path / "cache"))
    kept = UpstreamConfig(cache_dir=str(tmp_path / "kept"))
    np.testing.assert_array_equal(
        pooled_features(upstream, corpus, config=off),
        pooled_features(upstream, corpus, config=kept),
    )
    assert not (tmp_path / "cache").exists()


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
        assert frozen.keep(corpus) is None
    assert (
        "The features of 4 utterances are not cached: it would take 59 kB, above the limit of "
        "1 kB (config.upstream.cache_limit_gb)." in caplog.text
    )
    assert not list(tmp_path.rglob("*.npy"))


def test_the_size_is_announced_before_the_cache_is_filled(upstream, corpus, where, caplog):
    with caplog.at_level(logging.INFO):
        pooled_features(upstream, corpus, config=where)
    assert "features of 4 utterances once: 1.54 kB in" in caplog.text


def test_packs_are_limited_in_size_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setattr("spknorm.features.store.PACK_BYTES", 30)
    arrays = {f"k{n}": np.full((n + 1, 2), n, dtype=np.float32) for n in range(5)}
    store = FeatureStore(tmp_path, about={"what": "test"})
    store.add(arrays.items())
    assert len(list(tmp_path.glob("*.npy"))) == 3
    again = FeatureStore(tmp_path, about={})
    assert again.missing([*arrays, "other"]) == ["other"]
    for key, array in arrays.items():
        np.testing.assert_array_equal(again[key], array)
        assert isinstance(again[key].base, np.memmap)
    index = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert index["about"] == {"what": "test"}


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
sys.path.insert(0, "tests")
from kept_features import pooled_features
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
