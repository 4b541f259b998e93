from collections import Counter

import numpy as np
import pytest
import soundfile

from spknorm.batches import MixedEpoch, Order, Recordings, Stream
from spknorm.corpora.records import Utterance


@pytest.fixture
def utterances(tmp_path):
    rng = np.random.default_rng(0)
    made = []
    for index in range(7):
        path = tmp_path / f"u{index}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(16000 + 100 * index), 16000)
        made.append(Utterance(id=f"u{index}", path=path, emotion="neu", speaker=f"s{index % 2}"))
    return made


def test_an_epoch_visits_every_item_once_and_epochs_differ():
    order = Order(10, batch_size=4, seed=3)
    assert len(order) == 3
    epochs = [[i for k in range(3) for i in order[3 * e + k]] for e in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 2
    assert epochs[0] != epochs[1]


def test_a_batch_depends_on_seed_and_number_alone():
    walked, entered = Order(10, batch_size=4, seed=3), Order(10, batch_size=4, seed=3)
    batches = [walked[k] for k in range(9)]
    assert [entered[k] for k in (7, 2, 5)] == [batches[7], batches[2], batches[5]]
    assert [Order(10, batch_size=4, seed=4)[k] for k in range(9)] != batches


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_global_batches_of_one_process(world):
    one = Order(25, batch_size=4 * world, seed=1)
    ranks = [Order(25, batch_size=4, seed=1, rank=r, world=world) for r in range(world)]
    for k in range(3 * len(one)):
        assert [i for order in ranks for i in order[k]] == one[k]


def test_a_short_last_batch_can_be_left_out_but_never_the_only_one():
    assert len(Order(10, batch_size=4, drop_last=True)) == 2
    assert len(Order(3, batch_size=4, drop_last=True)) == 1


def test_crops_differ_from_epoch_to_epoch_but_not_from_run_to_run(utterances):
    def stream():
        recordings = Recordings(utterances, range(7), max_seconds=0.25, seed=5)
        return Stream(recordings, Order(7, batch_size=7, seed=5))

    first, again, later = stream()[0], stream()[0], stream()[1]
    assert {len(wav) for wav in first.wavs} == {4000}
    assert first.ids == again.ids
    assert all(np.array_equal(a, b) for a, b in zip(first.wavs, again.wavs, strict=True))
    same = dict(zip(later.ids, later.wavs, strict=True))
    assert not np.array_equal(first.wavs[0], same[first.ids[0]])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_can_be_entered_anywhere_and_decoded_by_other_processes(utterances, num_workers):
    stream = Stream(Recordings(utterances, range(7)), Order(7, batch_size=3, seed=2))
    found = list(stream.batches(2, 6, num_workers=num_workers))
    assert [batch.ids for batch in found] == [stream[k].ids for k in range(2, 6)]
    assert Counter(len(batch.wavs) for batch in found) == {1: 2, 3: 2}


def test_decoded_audio_is_kept_when_asked_for(utterances):
    recordings = Recordings(utterances, range(7), pre_load=True)
    first = recordings.audio(3)
    utterances[3].path.unlink()
    assert recordings.audio(3) is first


def test_a_mixed_epoch_labels_each_utterance_for_its_own_role(utterances):
    emotion = Stream(Recordings(utterances, [0] * 7), Order(7, batch_size=4, seed=1))
    speaker = Stream(Recordings(utterances, [1] * 7), Order(7, batch_size=2, seed=2))
    epoch = MixedEpoch(emotion, speaker, 1)
    assert len(epoch) == 2
    wavs, emotions, speakers, ids = epoch[0]
    assert (len(wavs), len(ids)) == (6, 6)
    assert emotions == [0, 0, 0, 0, -1, -1]
    assert speakers == [-1, -1, -1, -1, 1, 1]
    assert ids == emotion[2].ids + speaker[2].ids
    with pytest.raises(IndexError):
        epoch[2]


def test_a_silenced_stream_has_the_same_batches_without_audio(utterances):
    stream = Stream(Recordings(utterances, range(7)), Order(7, batch_size=3, seed=5))
    loud, silent = stream[1], stream.silenced()[1]
    assert silent.wavs == []
    assert silent[1:] == loud[1:]
    assert len(stream[1].wavs) == 3


@pytest.mark.parametrize("world", [1, 2])
def test_bucketed_batches_visit_every_item_once_and_hold_similar_lengths(world):
    lengths = np.random.default_rng(0).uniform(1, 8, 203)
    plain = Order(203, batch_size=4 * world, seed=3)
    bucketed = [
        Order(203, batch_size=4, seed=3, lengths=lengths, rank=rank, world=world)
        for rank in range(world)
    ]

    def spread(order):
        return np.mean([np.ptp(lengths[order[k]]) for k in range(len(order) - 1)])

    for epoch in range(2):
        numbers = range(epoch * len(plain), (epoch + 1) * len(plain))
        visited = [item for k in numbers for order in bucketed for item in order[k]]
        assert sorted(visited) == list(range(203))
    assert spread(bucketed[0]) < 0.4 * spread(plain)
    assert len(bucketed[0]) == len(plain)


def test_bucketed_batches_change_from_epoch_to_epoch_and_can_be_entered_anywhere():
    lengths = np.arange(40)
    orders = [Order(40, batch_size=4, seed=3, lengths=lengths) for _ in range(2)]
    walked = [orders[0][k] for k in range(30)]
    assert orders[1][23] == walked[23]
    assert not {tuple(batch) for batch in walked[:10]} & {tuple(batch) for batch in walked[10:20]}


LABELS = [0] * 50 + [1] * 7 + [2] * 3  # a large, a middle and a small class


@pytest.mark.parametrize("world", [1, 2])
def test_balanced_batches_draw_every_class_equally_often(world):
    orders = [
        Order(60, batch_size=6 // world, seed=3, classes=LABELS, rank=rank, world=world)
        for rank in range(world)
    ]
    one = Order(60, batch_size=6, seed=3, classes=LABELS)
    assert len(orders[0]) == len(one) == 10
    for epoch in range(2):
        numbers = range(10 * epoch, 10 * (epoch + 1))
        batches = [[i for order in orders for i in order[k]] for k in numbers]
        assert batches == [one[k] for k in numbers]
        for batch in batches:
            assert Counter(LABELS[item] for item in batch) == {0: 2, 1: 2, 2: 2}
        drawn = Counter(item for batch in batches for item in batch)
        assert {drawn[item] for item in range(50)} == {0, 1}  # 20 of 50, none twice
        assert {drawn[item] for item in range(50, 57)} == {2, 3}
        assert {drawn[item] for item in range(57, 60)} == {6, 7}


def test_balanced_batches_can_be_entered_anywhere_and_differ_by_seed_and_epoch():
    walked, entered = (Order(60, batch_size=6, seed=3, classes=LABELS) for _ in range(2))
    batches = [walked[k] for k in range(30)]
    assert [entered[k] for k in (17, 2, 25)] == [batches[17], batches[2], batches[25]]
    assert batches[:10] != batches[10:20]
    assert [Order(60, batch_size=6, seed=4, classes=LABELS)[k] for k in range(30)] != batches


def test_a_batch_of_as_many_items_as_classes_has_one_of_each():
    labels = np.random.default_rng(0).integers(0, 20, 400).tolist()
    order = Order(400, batch_size=20, seed=0, classes=labels)
    assert all(sorted(labels[item] for item in order[k]) == list(range(20)) for k in range(40))


@pytest.mark.parametrize("num_pieces", [1, 2, 3, 5, 8])
def test_the_pieces_of_a_batch_are_the_batch(utterances, num_pieces):
    stream = Stream(Recordings(utterances, range(7)), Order(7, batch_size=5, seed=2))
    whole, pieces = stream[3], [stream.piece(3, n, num_pieces) for n in range(num_pieces)]
    assert [name for piece in pieces for name in piece.ids] == whole.ids
    assert [label for piece in pieces for label in piece.labels] == whole.labels
    assert max(len(p.ids) for p in pieces) - min(len(p.ids) for p in pieces) <= 1
    wavs = [wav for piece in pieces for wav in piece.wavs]
    assert all(np.array_equal(a, b) for a, b in zip(wavs, whole.wavs, strict=True))


def test_a_mixed_epoch_spreads_one_speaker_batch_over_the_batches_of_a_step(utterances):
    emotion = Stream(Recordings(utterances, [0] * 7), Order(7, batch_size=2, seed=1))
    speaker = Stream(Recordings(utterances, [1] * 7), Order(7, batch_size=4, seed=2))
    epochs = [MixedEpoch(emotion, speaker, epoch, accumulate=2) for epoch in range(2)]
    items = [epoch[index] for epoch in epochs for index in range(len(epoch))]
    spoken = [[n for n, label in zip(i[3], i[2], strict=True) if label >= 0] for i in items]
    assert [len(names) for names in spoken[:2]] == [2, 2]
    for step in range(len(items) // 2):
        assert spoken[2 * step] + spoken[2 * step + 1] == speaker[step].ids
