"""RPyC: a service on a threaded server. What is immutable travels by value, so dicts go as tuples.

A dict itself would travel as a reference, and each look into it be a call back. Arrays go in
pieces, as in its own ``rpyc.classic.upload``: one large message costs it the square of its size.
"""

from __future__ import annotations

import hmac
import os
import secrets
import socket
from typing import Any

import rpyc
from rpyc.core.channel import Channel
from rpyc.core.stream import STREAM_CHUNK, SocketStream
from rpyc.utils.authenticators import AuthenticationError
from rpyc.utils.server import ThreadedServer

from benchmarks import peers
from benchmarks.harness.pipes import Tell, end_with_stdin
from benchmarks.peers.counter import Counter

TOKEN_SIZE = 32
# A piece and its call together fill one send.
PIECE = STREAM_CHUNK - 256
# Compressing what crosses loopback costs far more than it saves.
Channel.COMPRESSION_THRESHOLD = 2**62


class CounterService(rpyc.Service):  # type: ignore[misc]
    """One counter for all connections."""

    def __init__(self) -> None:
        super().__init__()
        self._counter = Counter()
        self._received = bytearray()

    def exposed_add(self, items: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
        """As the counter's, with the dicts' items."""
        return tuple(self._counter.add(dict(items)).items())

    def exposed_begin(self, size: int) -> None:
        """Make room for an array of so many bytes."""
        self._received = bytearray(size)

    def exposed_write(self, offset: int, data: bytes) -> None:
        """Take a piece of it."""
        self._received[offset : offset + len(data)] = data

    def exposed_end(self) -> float:
        """Take it as an array."""
        import numpy

        data, self._received = self._received, bytearray()
        return self._counter.put(numpy.frombuffer(data, numpy.float64))

    def exposed_size(self) -> int:
        """Bytes of the array."""
        size: int = self._counter.get().nbytes
        return size

    def exposed_read(self, offset: int, size: int) -> bytes:
        """A piece of the array."""
        return bytes(memoryview(self._counter.get()).cast("B")[offset : offset + size])


def serve(tell: Tell) -> None:
    """``start`` of a threaded server."""
    end_with_stdin()
    token = secrets.token_hex(TOKEN_SIZE // 2)

    def authenticate(sock: socket.socket) -> tuple[socket.socket, None]:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        given = sock.recv(TOKEN_SIZE, socket.MSG_WAITALL)
        if not hmac.compare_digest(given, token.encode()):
            raise AuthenticationError("wrong token")
        return sock, None

    server = ThreadedServer(CounterService(), hostname="127.0.0.1", authenticator=authenticate)
    # `start` listens; until then the kernel would refuse.
    server.listener.listen(256)
    tell({"pid": os.getpid(), "address": ["127.0.0.1", server.port], "token": token})
    server.start()


class Connection(peers.Connection):
    """A connection and the service's methods, looked up once."""

    def __init__(self, target: dict[str, Any]) -> None:
        sock = socket.create_connection(tuple(target["address"]))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(target["token"].encode())
        self._connection = rpyc.connect_stream(SocketStream(sock))
        self._root = self._connection.root
        self._add = self._root.add

    def call(self, args: dict[str, int]) -> dict[str, int]:
        """Items there, items back."""
        return dict(self._add(tuple(args.items())))

    def pipeline(self, count: int) -> None:
        """``async_``."""
        add = rpyc.async_(self._add)
        for answer in [add((("add", 1),)) for _ in range(count)]:
            dict(answer.value)

    def put(self, array: Any) -> float:
        """One call per piece."""
        data = memoryview(array).cast("B")
        self._root.begin(len(data))
        write = self._root.write
        for offset in range(0, len(data), PIECE):
            write(offset, bytes(data[offset : offset + PIECE]))
        last: float = self._root.end()
        return last

    def get(self) -> Any:
        """One call per piece."""
        import numpy

        data = bytearray(self._root.size())
        read = self._root.read
        for offset in range(0, len(data), PIECE):
            piece = read(offset, PIECE)
            data[offset : offset + len(piece)] = piece
        return numpy.frombuffer(data, numpy.float64)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
