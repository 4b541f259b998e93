"""A real Slurm for the tests of this folder, or the reason why there is none."""

import pytest
from benches import experiment, slow, started

from spknorm import bench


@pytest.fixture(scope="session")
def plain_slurm(tmp_path_factory):
    yield from started(tmp_path_factory, accounting=False)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def slurm(plain_slurm, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", plain_slurm.environment["SLURM_CONF"])
    for node in plain_slurm.nodes:
        if plain_slurm.node_state(node) not in ("idle", "mixed", "allocated"):
            plain_slurm.node_up(node)
    return plain_slurm


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, cache):
    """The folder of a run of the cell on this machine, by folds."""
    done = {}

    def folder(fold="fold1", steps=60):
        if (fold, steps) not in done:
            out = tmp_path_factory.mktemp("undisturbed")
            path = experiment(out, cache, "kind: local", folds=f"[{fold}]", steps=steps)
            summary = bench.run(path, out / "out", command=slow(0.0))
            assert len(summary.complete) == 1, summary.failed
            done[fold, steps] = out / "out" / summary.cells[0].cell.name
        return done[fold, steps]

    return folder
