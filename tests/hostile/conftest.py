"""A server that is attacked, and that must serve a stranger's call afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from bgpy import Client, Handle, Limits, Server
from tests.hostile import tasks
from tests.hostile.aftermath import aftermath
from tests.hostile.peers import RawClient, connect, wait_until

TOKEN = "of-a-test-and-long-enough-not-to-be-stretched"


class Served:
    """A background server with tasks, a client of it, and what attackers need to know."""

    token = TOKEN
    tls: bool | None = None
    """Whether its clients ask for TLS."""
    tracebacks = 0
    """How many tracebacks the test expects in the log."""

    def __init__(self, handle: Handle, client: Client) -> None:
        self.handle = handle
        self.client = client
        self.port = handle.port
        self.process = psutil.Process(handle.pid)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Keep the server's process from running."""
        self.process.suspend()
        try:
            wait_until(lambda: self.process.status() == psutil.STATUS_STOPPED, "it has stopped")
            yield
        finally:
            self.process.resume()

    def raw(self) -> RawClient:
        """Give a client that has proved the token and sends any bytes."""
        return RawClient(self.port, TOKEN)

    def stranger(self) -> Any:
        """Give a connected socket that has proved nothing."""
        return connect(self.port)

    def log(self) -> str:
        """Give the server's log, with all that happened before this was called."""
        self.client.ping()  # handled by the thread that wrote of what came before
        assert self.handle.log_file is not None
        return Path(self.handle.log_file).read_text("utf-8")

    def log_of(self, peer: tuple[str, int]) -> list[str]:
        """Give the lines of the log about `peer`."""
        return [line for line in self.log().splitlines() if f"{peer[0]}:{peer[1]} " in line]

    def check(self) -> None:
        """A second client's call succeeds."""
        with Client("127.0.0.1", self.port, TOKEN, timeout=20.0, tls=self.tls) as second:
            before = second.call({"add": 0})
            assert second.call({"add": 1}) == before + 1
        assert self.log().count("Traceback") == self.tracebacks


@pytest.fixture
def serve(
    start: Callable[..., tuple[Handle, Client]],
) -> Callable[..., Served]:
    """Start a server with the tasks of `tests.hostile.tasks`; takes options of `Limits`."""

    def serve(**limits: Any) -> Served:
        handle, client = start(token=TOKEN, limits=Limits(**limits))
        client.initialize(tasks.init_task, tasks.exec_task, tasks.exit_task)
        return Served(handle, client)

    return serve


@pytest.fixture
def served(serve: Callable[..., Served]) -> Iterator[Served]:
    """A server that still serves when the test is over, and is as it was before."""
    server = serve()
    with aftermath(server.handle, TOKEN):
        yield server
    server.check()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of this user's with a short path."""
    with tempfile.TemporaryDirectory(prefix="bgpy-") as folder:
        yield Path(os.path.realpath(folder))


@pytest.fixture
def start_at(folder: Path) -> Iterator[Callable[..., Handle]]:
    """Start a server at ``socket`` in `folder`, or at another address."""
    started: list[Handle] = []

    def start(address: str | None = None, **options: object) -> Handle:
        where = f"unix:{folder}/socket" if address is None else address
        started.append(Server(where, None, TOKEN, **options).run_background())  # type: ignore[arg-type]
        return started[-1]

    yield start
    for handle in started:
        handle.kill()
