"""Utterances as columns: the same records, made when they are asked for."""

import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spknorm.audio import AudioIndex
from spknorm.corpora import columns
from spknorm.corpora.columns import Texts, Utterances, all_differ
from spknorm.corpora.digest import digest_of
from spknorm.corpora.records import Utterance
from spknorm.files import cache_root

_ALL = [
    Utterance(id="a", path=Path("/x/a.wav"), speaker="s1", labels={"video": "v", "channel": "tv"}),
    Utterance(
        id="b é", path=Path("/x/y/b.wav"), speaker="s2", split="dev", votes=(("happy", 2.0),)
    ),
    Utterance(id="c", path=Path("rel.wav"), emotion="hap", arousal=1.5, start=0.5, channel="2"),
    Utterance(id="d\udcff", path=Path("/d\udcff.wav"), speaker="s1", arousal=1, intensity="1"),
]


def test_records_come_back_as_they_went_in_whatever_they_hold():
    packed = Utterances.of(_ALL)
    assert list(packed) == _ALL
    assert packed == _ALL
    assert packed != _ALL[:3]
    assert packed[-1] == _ALL[-1]
    assert packed[1:3] == _ALL[1:3]
    assert packed[::-1] == _ALL[::-1]
    assert packed.take([2, 0]) == [_ALL[2], _ALL[0]]
    assert repr([one.arousal for one in packed]) == "[None, None, 1.5, 1]"
    assert list(packed.ids()) == [one.id for one in _ALL]
    assert pickle.loads(pickle.dumps(packed)) == _ALL
    assert Utterances.of(packed) is packed
    assert not len(Utterances.of([]))
    with pytest.raises(IndexError):
        packed[4]


@pytest.mark.parametrize(
    "column", ["speaker", "split", "votes", "arousal", "start", "channel", "video", "unknown"]
)
def test_a_column_s_labels_are_those_of_its_records(column):
    for packed in (Utterances.of(_ALL), Utterances.of(_ALL)[1:]):
        codes, values = packed.coded(column)
        assert [values[code] for code in codes] == [one.label(column) for one in packed]


def test_what_is_heard_is_a_path_or_an_excerpt_of_a_file():
    sounds = Utterances.of(_ALL).sounds()
    assert [str(getattr(one, "key", one)) for one in sounds] == [one.audio.key for one in _ALL]


def test_columns_of_many_values_are_packed_and_give_the_same(monkeypatch):
    monkeypatch.setattr(columns, "_FEW", 10)
    records = [
        Utterance(id=f"u{n}", path=Path(f"/f{n}.wav"), sentence=f"s{n}" if n else None, end=n / 7)
        for n in range(50)
    ]
    packed = Utterances.of(records)
    assert packed == records
    codes, sentences = packed.coded("sentence")
    assert [sentences[code] for code in codes] == [one.sentence for one in records]


def test_an_utterance_of_voxceleb2_takes_under_a_hundred_bytes():
    def rows():
        for number in range(20_000):
            video = f"id{number // 175:05}/v{number // 7:09}"
            path = f"/data/voxceleb2/dev/aac/{video}/{number % 7:05}.wav"
            yield {
                "id": f"{video}/{number % 7:05}",
                "path": path,
                "speaker": video[:7],
                "labels": {"video": video[8:]},
            }

    tracemalloc.start()
    packed = Utterances.packed(rows())
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    one = packed[19_999]
    assert held / len(packed) < 100  # as records some 865
    assert (one.id, one.speaker, one.path.name) == (
        "id00114/v000002857/00000",
        "id00114",
        "00000.wav",
    )


def test_texts_are_kept_in_one_buffer():
    texts = Texts(["", "a", "é", "\ud800"])
    assert list(texts) == ["", "a", "é", "\ud800"]
    assert texts[1:3] == ["a", "é"]
    assert all_differ(texts)
    assert not all_differ(["a", "b", "a"])


@pytest.fixture
def many(tmp_path, monkeypatch):
    """Return 6000 files, links to one, whose headers an index of its own knows."""
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16000)
    paths = []
    for number in range(6000):
        paths.append(tmp_path / f"{number // 100:03}" / f"{number:05}.wav")
        paths[-1].parent.mkdir(exist_ok=True)
        paths[-1].hardlink_to(tmp_path / "a.wav")
    AudioIndex.shared().infos(paths)
    return paths


def test_a_look_at_files_that_are_known_keeps_a_record_of_each_and_no_copies(many, monkeypatch):
    monkeypatch.setattr("spknorm.audio.index._LOOKED_UP", 500, raising=False)
    sounds = Utterances.packed({"id": path.name, "path": str(path)} for path in many).sounds()
    index = AudioIndex(cache_root())
    tracemalloc.start()
    headers = index.look_up(sounds)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert set(headers.records.tolist()) == {(3244, 1600, 16000, 1)} and not headers.errors
    assert held / len(many) < 130  # 80 of the index, 16 of its order, 22 of headers
    assert peak / len(many) < 300


def test_the_rows_behind_a_digest_take_fifty_bytes_an_utterance_beside_its_columns(
    many, monkeypatch
):
    monkeypatch.setattr("spknorm.corpora.digest._MOST_SAMPLED", 10)
    records = Utterances.packed(
        {"id": path.stem, "path": str(path), "speaker": path.parent.name} for path in many
    )
    digest_of(records[:10], labels=["speaker"], parts={})  # loads what it needs
    AudioIndex.shared().infos(records.sounds())
    tracemalloc.start()
    found = digest_of(records, labels=["speaker"], parts={"train": records[:5000]})
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / len(records) < 50
    assert found.rows.sizes() == {None: 1000, "train": 5000}
    row = found.rows[5]
    assert (row.id, row.labels, row.part) == ("00005", '{"speaker": "000"}', "train")
    assert row.audio.startswith("3244 bytes, 1600 at 16000 Hz")
