"""A server in trouble, over each way, that must be as before when the trouble is over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bgpy import Client, Handle
from tests.support.aftermath import aftermath
from tests.support.tasks import troubled as tasks
from tests.support.ways import PLAIN, TOKEN, Way


@pytest.fixture
def way() -> Way:
    """How clients reach the server."""
    return PLAIN


@pytest.fixture
def mortal(way: Way) -> Iterator[Handle]:
    """A server with tasks that the test may end."""
    handle = way.start()
    try:
        with way.client(handle.port) as client:
            client.initialize(*tasks.TASKS)
        yield handle
    finally:
        handle.kill()


@pytest.fixture
def steady(way: Way, mortal: Handle) -> Iterator[Handle]:
    """A server with tasks that serves on after the test, and has all that it had before."""
    with aftermath(mortal, TOKEN, client=way.client):
        yield mortal


@pytest.fixture
def other(way: Way, steady: Handle) -> Iterator[Client]:
    """Another client of `steady`, which nothing disturbs."""
    with way.client(steady.port, timeout=20.0) as client:
        client.ping()
        yield client
