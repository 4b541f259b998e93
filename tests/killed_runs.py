"""Runs that are cut short at a step, and what they leave, for the tests of the runner."""

import contextlib
import json

import torch
from tiny_runs import weights_of

from spknorm.runner.engine import SpknormRunner


@contextlib.contextmanager
def at_step(monkeypatch, step, action):
    """Do `action` when training has done that many steps, before they are logged."""
    log = SpknormRunner._log_training

    def wrapped(self):
        if self.counters.step == step:
            action()
        log(self)

    with monkeypatch.context() as patched:
        patched.setattr(SpknormRunner, "_log_training", wrapped)
        yield


class KilledError(Exception):
    pass


def kill():
    raise KilledError


def same_weights(one, other):
    ours, theirs = weights_of(one), weights_of(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def metrics_of(expdir):
    return [json.loads(line) for line in (expdir / "metrics.jsonl").read_text().splitlines()]
