"""multiprocessing.connection: pickled objects over an authenticated connection."""

from __future__ import annotations

import os
import secrets
import threading
from multiprocessing.connection import Client, Listener
from typing import Any

from benchmarks import peers
from benchmarks.harness.pipes import Tell, end_with_stdin
from benchmarks.peers.counter import Counter


def serve(tell: Tell) -> None:
    """One thread per connection; None asks for the array, anything else is one."""
    end_with_stdin()
    key = secrets.token_hex(16)
    listener = Listener(("127.0.0.1", 0), authkey=key.encode())
    tell({"pid": os.getpid(), "address": listener.address, "token": key})
    while True:
        threading.Thread(target=_serve, args=(listener.accept(),), daemon=True).start()


def _serve(connection: Any) -> None:
    counter = Counter()
    while True:
        try:
            array = connection.recv()
        except EOFError:
            return
        connection.send(counter.get() if array is None else counter.put(array))
        del array


class Connection(peers.Connection):
    """The client's end."""

    def __init__(self, target: dict[str, Any]) -> None:
        self._connection = Client(tuple(target["address"]), authkey=target["token"].encode())

    def put(self, array: Any) -> float:
        """``send``, then ``recv`` of the answer."""
        self._connection.send(array)
        last: float = self._connection.recv()
        return last

    def get(self) -> Any:
        """``recv``."""
        self._connection.send(None)
        return self._connection.recv()

    def close(self) -> None:
        """``close``."""
        self._connection.close()
