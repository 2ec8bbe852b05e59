"""What tests of the API have: initialised servers, gates, and scripts in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bgpy import Client, Handle, Server
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


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Address and token of a server like `running`, for all tests of a file that leave it whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BGPY_HOME", str(tmp_path_factory.mktemp("home")))
        server = Server("127.0.0.1", 0)
        handle = server.run_background()
    try:
        assert server.token is not None
        with Client(handle.address, token=server.token) as client:
            client.initialize(*TASKS)
        yield handle.address, server.token
    finally:
        handle.kill()


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate, opened in any case at the end."""
    with Gate() as gate:
        yield gate
