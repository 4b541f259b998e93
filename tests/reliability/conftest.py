"""What several of these tests need."""

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder beside which nothing may appear."""
    folder = tmp_path_factory.mktemp("fuzz") / "folder"
    folder.mkdir()
    yield folder
    assert list(folder.parent.iterdir()) == [folder]
