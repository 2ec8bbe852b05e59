"""Raw sockets: what loopback TCP and Unix sockets allow from Python.

Each message begins with a header of 32 bytes, the first of which says what it is. Small
calls are a header and nothing else; an array follows its header.
"""

from __future__ import annotations

import mmap
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

from benchmarks import peers
from benchmarks.harness.pipes import Tell, end_with_stdin
from benchmarks.peers.counter import make_array

HEADER = 32
CALL = b"c".ljust(HEADER)
PUT = b"p".ljust(HEADER)
GET = b"g".ljust(HEADER)

Wrap = Callable[[socket.socket], socket.socket]
"""Gives what is spoken over, of a connected socket."""


def plain(sock: socket.socket) -> socket.socket:
    """Speak over `sock` as it is."""
    return sock


def serve(tell: Tell, unix: bool = False, wrap: Wrap = plain) -> None:
    """One thread per connection."""
    end_with_stdin()
    if unix:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(peers.unix_path())
        listener.listen(256)
    else:
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    tell({"pid": os.getpid(), "address": listener.getsockname()})
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_serve, args=(sock, wrap), daemon=True).start()


def _serve(sock: socket.socket, wrap: Wrap) -> None:
    _send_at_once(sock)
    sock = wrap(sock)
    header = bytearray(HEADER)
    array: Any = None
    while sock.recv_into(header):
        if header[0] == CALL[0]:
            sock.sendall(header)
        elif header[0] == PUT[0]:
            size = int.from_bytes(header[8:16], "little")
            last = _receive(sock, size)[-8:].tobytes()
            sock.sendall(last.ljust(HEADER))
        else:
            array = make_array() if array is None else array
            sock.sendall(_sized(GET, array.nbytes))
            sock.sendall(memoryview(array).cast("B"))


def _send_at_once(sock: socket.socket) -> None:
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _sized(header: bytes, size: int) -> bytes:
    return header[:8] + size.to_bytes(8, "little") + header[16:]


def _receive(sock: socket.socket, size: int) -> memoryview:
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    view = memoryview(memory)
    done = 0
    while done < size:
        count = sock.recv_into(view[done:])
        if not count:
            raise ConnectionError("the peer closed the connection")
        done += count
    return view


class Connection(peers.Connection):
    """A connected socket."""

    wrap: Wrap = staticmethod(plain)

    def __init__(self, target: dict[str, Any]) -> None:
        address = target["address"]
        if isinstance(address, str):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(address)
        else:
            sock = socket.create_connection(tuple(address))
        _send_at_once(sock)
        self._sock = self.wrap(sock)
        self._header = bytearray(HEADER)

    def call(self, args: dict[str, int]) -> dict[str, int]:
        """32 bytes there and back; what is in `args` doesn't travel."""
        self._sock.sendall(CALL)
        if self._sock.recv_into(self._header) != HEADER:
            raise ConnectionError("the server closed the connection")
        return args

    def put(self, array: Any) -> float:
        """One ``sendall`` of the array's own memory."""
        import numpy

        self._sock.sendall(_sized(PUT, array.nbytes))
        self._sock.sendall(memoryview(array).cast("B"))
        self._sock.recv_into(self._header)
        return float(numpy.frombuffer(self._header, numpy.float64, 1)[0])

    def get(self) -> Any:
        """Into fresh memory."""
        import numpy

        self._sock.sendall(GET)
        self._sock.recv_into(self._header)
        size = int.from_bytes(self._header[8:16], "little")
        return numpy.frombuffer(_receive(self._sock, size), numpy.float64)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()
