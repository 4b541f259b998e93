"""Experiment files for the tests of the bench."""

import pytest
from bench_stubs import EXPERIMENT


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "stubs.yaml"
    path.write_text(EXPERIMENT)
    return path
