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
def ask(library):
    """Runs a function of tasks.py on the device, in a process of its own."""
    return functools.partial(pretended.ask, library)


@pytest.fixture(scope="session")
def start(library):
    """Runs Python on the device."""
    return functools.partial(pretended.start, library)
