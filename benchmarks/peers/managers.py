"""multiprocessing.managers: served on TCP or a Unix socket, and reached with the authkey."""

from __future__ import annotations

import os
import secrets
from multiprocessing.managers import BaseManager, BaseProxy
from typing import Any

from benchmarks import peers
from benchmarks.harness.pipes import Tell, end_with_stdin
from benchmarks.peers.counter import Counter


class CounterProxy(BaseProxy):
    """Its methods are known, so that a client needn't ask for them."""

    _exposed_ = ("add", "put", "get")

    def add(self, args: dict[str, int]) -> Any:
        """As the counter's."""
        return self._callmethod("add", (args,))

    def put(self, array: Any) -> Any:
        """As the counter's."""
        return self._callmethod("put", (array,))

    def get(self) -> Any:
        """As the counter's."""
        return self._callmethod("get")


class CounterManager(BaseManager):
    """Gives one counter to all."""


def serve(tell: Tell, unix: bool = False) -> None:
    """``get_server().serve_forever()``."""
    end_with_stdin()
    counter = Counter()
    CounterManager.register("counter", lambda: counter, CounterProxy)
    key = secrets.token_hex(16)
    place = peers.unix_path() if unix else ("127.0.0.1", 0)
    server = CounterManager(place, key.encode()).get_server()
    tell({"pid": os.getpid(), "address": server.address, "token": key})
    server.serve_forever()


class Connection(peers.Connection):
    """A proxy of the counter."""

    def __init__(self, target: dict[str, Any]) -> None:
        CounterManager.register("counter", proxytype=CounterProxy)
        address = target["address"]
        place = address if isinstance(address, str) else tuple(address)
        manager = CounterManager(place, target["token"].encode())
        manager.connect()
        self._counter: Any = manager.counter()  # type: ignore[attr-defined]
        self.call = self._counter.add  # type: ignore[method-assign]

    def pipeline(self, count: int) -> None:
        """One call after another: there is no other way."""
        for _ in range(count):
            self._counter.add({"add": 1})

    def put(self, array: Any) -> float:
        """The array as an argument."""
        last: float = self._counter.put(array)
        return last

    def get(self) -> Any:
        """The array as the result."""
        return self._counter.get()

    def close(self) -> None:
        """Drop the proxy, and with it the connection."""
        self._counter._tls.connection.close()
        del self._counter._tls.connection
        del self.call, self._counter
