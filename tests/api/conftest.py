"""What tests of the API have: initialised servers, gates, and scripts in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bgpy import Client, Handle
from tests.support.fixtures import free_port, script
from tests.support.gate import Gate
from tests.support.tasks.counting import TASKS

__all__ = ["free_port", "script"]

Start = Callable[..., tuple[Handle, Client]]


@pytest.fixture
def running(start: Start) -> tuple[Handle, Client]:
    """A background server initialised with `tests.support.tasks.counting`, and a client of it."""
    handle, client = start()
    client.initialize(*TASKS)
    return handle, client


@pytest.fixture
def client(running: tuple[Handle, Client]) -> Client:
    """A client of an initialised background server."""
    return running[1]


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate, opened in any case at the end."""
    with Gate() as gate:
        yield gate
