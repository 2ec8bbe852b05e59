"""A place for the fake server's connection, so that tests wait for it and it for them."""

from __future__ import annotations

import os
import socket
from typing import BinaryIO

from bgpy.system import processes


class Meeting:
    """A listening socket that fake servers connect to; what they start with ends with it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(60)
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket | BinaryIO] = []
        self._met: list[tuple[int, str]] = []

    def accept(self) -> tuple[socket.socket, BinaryIO]:
        """Wait for a fake server; give the connection and its lines."""
        connection, _ = self._listener.accept()
        connection.settimeout(60)
        lines = connection.makefile("rb")
        self._open += [lines, connection]
        return connection, lines

    def accept_pid(self) -> tuple[int, str, socket.socket]:
        """Wait for a fake server that says its pid; give that, its start time, the connection."""
        connection, lines = self.accept()
        pid = int(lines.readline())
        start = processes.start_time(pid)
        assert start is not None
        self._met.append((pid, start))
        return pid, start, connection

    def close(self) -> None:
        for one in [*self._open, self._listener]:
            one.close()
        for pid, start in self._met:
            if not processes.ProcessId(pid, start).wait(60):
                os.kill(pid, 9)
                raise AssertionError(f"the fake server {pid} did not end")
