"""A small IEMOCAP as files, for the tests of its readers."""

import pytest
from iemocap_trees import write_iemocap

from spknorm.corpora.iemocap import COUNTS
from spknorm.corpora.reading import read_corpus as read_sections
from spknorm.schema import DataConfig, ExpertConfig

SMALL = dict.fromkeys(COUNTS, (5, 6, 4, 3))


def read_corpus(root, **settings):
    """Read IEMOCAP by what its section of the configuration says."""
    settings = {key: value if key == "labels" else str(value) for key, value in settings.items()}
    return read_sections(ExpertConfig(datarc=DataConfig(root=str(root), **settings)), "emotion")


@pytest.fixture
def small_tree(tmp_path):
    return write_iemocap(tmp_path / "IEMOCAP", SMALL)
