"""Peers that don't play by the rules: raw sockets, with and without the token."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bgpy.wire.handshake import MAGIC, MAX_VERSION, MIN_VERSION
from bgpy.wire.messages import Message, Status
from tests.support.peer import Peer

PATIENCE = 20.0
"""Seconds after which something that never happens fails a test."""

HELLO = MAGIC + bytes((MIN_VERSION, MAX_VERSION, 0, 0)) + bytes(48)

EXECUTE, EXECUTE_AND_WAIT = 0x10, 0x11
"""Tags of an Execute with codec 1."""


class Canary:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)

    def pickled(self) -> bytes:
        """Give the bytes that sing."""
        return pickle.dumps({"add": 0, "canary": self}, 5)


def frame(
    kind: int, tags: int, request: int, head: bytes = b"", *, count: int = 0, length: int = -1
) -> bytes:
    """Give a frame; `count` and `length` may lie."""
    size = len(head) if length < 0 else length
    return struct.pack("<BBHIQ", kind, tags, count, size, request) + head


def connect(port: int) -> socket.socket:
    """Give a connected socket on which nothing waits for ever."""
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


def reset(sock: socket.socket) -> None:
    """Close with a reset, as a process that crashed over unread bytes."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_to_end(sock: socket.socket) -> bytes:
    """Give all that comes until the other side closes, in whatever way."""
    received = b""
    try:
        while part := sock.recv(65536):
            received += part
    except ConnectionError:
        pass
    return received


def wait_until(truth: Callable[[], Any], what: str) -> None:
    """Return when `truth()` holds; fail if it never does."""
    end = time.monotonic() + PATIENCE
    while not truth():
        assert time.monotonic() < end, f"never came true: {what}"
        time.sleep(0.005)


def insist(pid: int, ended: Callable[[], bool]) -> None:
    """Send SIGTERM as an impatient user does, until one of them isn't the first any more."""

    def has_ended() -> bool:
        if not ended():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        return ended()

    wait_until(has_ended, "a second signal ends the server")


class RawClient(Peer):
    """Has proved the token, and then sends whatever bytes it is told to."""

    def __init__(self, port: int, token: str) -> None:
        super().__init__(connect(port), token)
        self.shake_hands()

    def send(self, data: bytes) -> None:  # type: ignore[override]
        """Send `data` as it is."""
        self.send_bytes(data)

    def receive(self) -> Message:
        """Give the next message."""
        return self.read(1)[0]

    def status(self) -> dict[str, Any]:
        """Ask the server how it is."""
        self.send(frame(12, 0, 1, b"{}"))
        answer = self.receive()
        assert isinstance(answer, Status)
        status: dict[str, Any] = json.loads(answer.text)
        return status
