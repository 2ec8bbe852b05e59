"""A gate between a test and a process: the test sees who stands at it, and lets them go on.

So a test knows that a task runs, and decides when it ends, without a clock.
"""

from __future__ import annotations

import os
import socket
from types import TracebackType
from typing import Any, Self

PATIENCE = 30.0
"""Seconds after which whoever waits at a gate, or for someone to come, gives up."""

Place = tuple[str, int]


def pass_gate(place: Place) -> None:
    """Stand at the gate of `place` until the test opens it."""
    with socket.create_connection(place, PATIENCE) as sock:
        sock.sendall(f"{os.getpid()}\n".encode())
        sock.recv(1)


class Passing:
    """A function to be run by a task: passes the gate and gives `value`."""

    def __init__(self, place: Place, value: Any) -> None:
        self._place = place
        self._value = value

    def __call__(self, state: Any) -> Any:
        pass_gate(self._place)
        return self._value


class Gate:
    """The test's side."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self._arrived: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.open()
        self._listener.close()

    @property
    def place(self) -> Place:
        """Where `pass_gate` finds it."""
        host, port = self._listener.getsockname()[:2]
        return host, port

    def passing(self, value: Any = None) -> Passing:
        """A function of a task's state that passes this gate and gives `value`."""
        return Passing(self.place, value)

    def wait(self) -> int:
        """Wait until a process stands at the gate; its pid."""
        sock, _ = self._listener.accept()
        self._arrived.append(sock)
        sock.settimeout(PATIENCE)
        return int(sock.makefile().readline())

    def open(self) -> None:
        """Let those who stand at the gate go on."""
        while self._arrived:
            self._arrived.pop().close()
