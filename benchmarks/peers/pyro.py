"""Pyro5: a daemon with one object; marshal is its fastest serializer and takes bytes."""

from __future__ import annotations

import hmac
import os
import secrets
from typing import Any

import Pyro5.api

from benchmarks import peers
from benchmarks.harness.pipes import Tell, end_with_stdin
from benchmarks.peers.counter import Counter

Pyro5.api.config.SERIALIZER = "marshal"
Pyro5.api.config.SOCK_NODELAY = True
# One thread per connection: as many as clients at once, with some to spare.
Pyro5.api.config.THREADPOOL_SIZE = 200


@Pyro5.api.expose
class RemoteCounter:
    """The counter; arrays come and go as bytes."""

    def __init__(self) -> None:
        self._counter = Counter()

    def add(self, args: dict[str, int]) -> dict[str, int]:
        """As the counter's."""
        return self._counter.add(args)

    def put(self, data: bytes) -> float:
        """The array's bytes."""
        import numpy

        return self._counter.put(numpy.frombuffer(data, numpy.float64))

    def get(self) -> bytes:
        """The array's bytes."""
        data: bytes = self._counter.get().tobytes()
        return data


class GuardedDaemon(Pyro5.api.Daemon):  # type: ignore[misc]
    """A daemon that lets in who knows the token."""

    token = ""

    def validateHandshake(self, conn: Any, data: str) -> str:
        """Refuse any other token."""
        if not hmac.compare_digest(data, self.token):
            raise PermissionError("wrong token")
        return "welcome"


def serve(tell: Tell) -> None:
    """``requestLoop``."""
    end_with_stdin()
    daemon = GuardedDaemon(host="127.0.0.1", port=0)
    daemon.token = secrets.token_hex(16)
    uri = daemon.register(RemoteCounter(), "counter")
    tell({"pid": os.getpid(), "address": str(uri), "token": daemon.token})
    daemon.requestLoop()


class Connection(peers.Connection):
    """A proxy."""

    def __init__(self, target: dict[str, Any]) -> None:
        self._proxy = Pyro5.api.Proxy(target["address"])
        self._proxy._pyroHandshake = target["token"]

    def call(self, args: dict[str, int]) -> dict[str, int]:
        """A method of the proxy."""
        answer: dict[str, int] = self._proxy.add(args)
        return answer

    def pipeline(self, count: int) -> None:
        """All calls in one batch, which marshal can't serialize in this version of Pyro5."""
        self._proxy._pyroSerializer = "serpent"
        batch = Pyro5.api.BatchProxy(self._proxy)
        for _ in range(count):
            batch.add({"add": 1})
        for _ in batch():
            pass

    def put(self, array: Any) -> float:
        """The array's bytes as an argument."""
        last: float = self._proxy.put(array.tobytes())
        return last

    def get(self) -> Any:
        """An array on the bytes received."""
        import numpy

        return numpy.frombuffer(self._proxy.get(), numpy.float64)

    def close(self) -> None:
        """Release the proxy."""
        self._proxy._pyroRelease()
