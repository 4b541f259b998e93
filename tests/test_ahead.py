"""The batches of each step, and those of the next; on a GPU see tests/device/test_ahead.py."""

import itertools

import torch
from tiny_runs import settings_of, train, weights_of

from spknorm.batches import Batch
from spknorm.features.ahead import Ahead, let_go
from spknorm.method.optim.world import World

CPU = torch.device("cpu")


def _numbered(read):
    """Batches that remember when they are read."""
    for number in itertools.count():
        read.append(number)
        yield Batch([], [number], [str(number)], [number])


def _ahead(read):
    streams = {"emotion": (_numbered(read), 2), "speaker": (iter(()), 1)}
    return Ahead(streams, None, CPU)


def test_on_the_cpu_nothing_is_read_before_it_is_asked_for():
    read = []
    ahead = _ahead(read)
    emotion, speaker = ahead.take()
    ahead.send()
    assert ([batch.ids for batch in emotion], speaker, read) == ([["0"], ["1"]], [], [0, 1])


def test_what_is_read_ahead_is_the_next_step_s_and_no_other():
    read = []
    ahead = _ahead(read)
    ahead.copies, ahead._copied = True, lambda batches, corpus: list(batches)
    for step in range(3):
        emotion, _ = ahead.take()
        assert [batch.labels for batch in emotion] == [[2 * step], [2 * step + 1]]
        ahead.send()
        ahead.send()  # the step is tried again
        assert len(read) == 2 * step + 4


def test_nothing_is_copied_ahead_any_more_where_nothing_else_saves_memory():
    ahead = _ahead([])
    assert ahead.stop(World("cpu")) is None
    ahead.copies = True
    assert ahead.stop(World("cpu")) == "no batch is copied to the device ahead from now on"
    assert (ahead.stop(World("cpu")), ahead.copies) == (None, False)


def test_copies_are_let_go_of_in_the_list_that_others_hold():
    batches = [Batch([], [0], ["u"], [0], [torch.zeros(3)])]
    let_go(batches)
    assert batches == [Batch([], [0], ["u"], [0])]


def test_a_run_that_reads_ahead_ends_bit_for_bit_as_one_that_does_not_resumed_or_not(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch
):
    def run(folder, total_steps):
        mapping = settings_of(tiny_corpora, total_steps=total_steps, eval_step=3)
        train(tiny_hubert, mapping, tmp_path / folder, resume=True)
        return weights_of(tmp_path / folder)

    plain = run("plain", 5)

    def send(self):
        self._next = self._next or self._read()
        sent.append([batch.ids for batches in self._next for batch in batches])

    sent = []
    monkeypatch.setattr(Ahead, "send", send)
    whole = run("whole", 5)
    run("parts", 3)
    assert sent[:2] == sent[5:7]  # the same batches
    assert sent[4] == sent[7] == []  # none after the last
    parts = run("parts", 5)
    assert sent[8:] == sent[3:5]
    for one in (whole, parts):
        assert plain.keys() == one.keys()
        assert all(torch.equal(plain[name], one[name]) for name in plain)
