"""A background server that is attacked, with what attackers need to know of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from bgpy import Client, Handle
from tests.support.peers import RawClient, connect, wait_until

TOKEN = "of-a-test-and-long-enough-not-to-be-stretched"


class Served:
    """A background server with tasks, a client of it, and what attackers need to know."""

    token = TOKEN
    tls: bool | None = None
    """Whether its clients ask for TLS."""
    tracebacks = 0
    """How many tracebacks the test expects in the log."""
    _before = 0
    """Characters of the log that are other tests'."""

    def __init__(self, handle: Handle, client: Client) -> None:
        self.handle = handle
        self.client = client
        self.port = handle.port
        self.process = psutil.Process(handle.pid)

    def begin(self) -> None:
        """Another test begins: the count is 0, and what was logged before none of its concern."""
        self._before, self.tracebacks = 0, 0
        self.client.call({"add": -self.client.call({"add": 0})})
        self._before = len(self.log())

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
        """Give the server's log of this test, with all that happened before this was called."""
        self.client.ping()  # handled by the thread that wrote of what came before
        assert self.handle.log_file is not None
        return Path(self.handle.log_file).read_text("utf-8")[self._before :]

    def log_of(self, peer: tuple[str, int]) -> list[str]:
        """Give the lines of the log about `peer`."""
        return [line for line in self.log().splitlines() if f"{peer[0]}:{peer[1]} " in line]

    def check(self) -> None:
        """A second client's call succeeds."""
        with Client("127.0.0.1", self.port, TOKEN, timeout=20.0, tls=self.tls) as second:
            before = second.call({"add": 0})
            assert second.call({"add": 1}) == before + 1
        assert self.log().count("Traceback") == self.tracebacks, self.log()
