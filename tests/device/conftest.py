"""The pretended device, built once; see pretended.py."""

import functools

import pretended
import pytest


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    reason = pretended.reason_unavailable()
    if reason is not None:
        pytest.skip(reason)
    return pretended.build(tmp_path_factory.mktemp("device"))


@pytest.fixture(scope="session")
def server(library, tmp_path_factory):
    """Does tasks of tasks.py on the device, each in a process of its own."""
    made = pretended.Server(library, tmp_path_factory.mktemp("server"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def ask(server):
    """Returns what a task returns."""
    return server.ask


@pytest.fixture(scope="session")
def start(library):
    """Runs Python on the device."""
    return functools.partial(pretended.start, library)
