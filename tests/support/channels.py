"""A client's channel whose other end is in the hands of the test."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bgpy.address import parse
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.connecting import Connected
from bgpy.calling.blocking.dialling import Reached
from bgpy.calling.blocking.futures import CallFuture
from bgpy.calling.blocking.shared import Shared
from bgpy.calling.conversation import Answer
from bgpy.wire.connection import Connection
from bgpy.wire.messages import Message
from tests.support.connections import WELCOME, pair

PLACE = parse("127.0.0.1:54321")
"""Where the errors of these channels say that the server is."""

ROOM = 4096
"""Bytes that the system keeps, about, of what the other end doesn't read."""


class Far:
    """The server's end: it reads and says what the test wants, and when."""

    def __init__(self, sock: socket.socket, connection: Connection) -> None:
        self.sock = sock
        self._connection = connection
        self._inbox: list[Message] = []

    def read(self) -> Message:
        """The next message of the client's."""
        while not self._inbox:
            data = self.sock.recv(2**16)
            assert data, "the client closed the connection"
            self._inbox += self._connection.receive(data)
        return self._inbox.pop(0)

    def say(self, *messages: Message) -> None:
        """Send messages to the client, together."""
        self.sock.sendall(self.bytes_of(*messages))

    def bytes_of(self, *messages: Message) -> bytes:
        """What `say` sends."""
        return b"".join(piece for each in messages for piece in self._connection.send(each))


def future_of(
    value_of: Callable[[Answer], Any] = lambda answer: answer,
    waited_for: Callable[[CallFuture], bool] = lambda _: False,
) -> CallFuture:
    """Of a call, as a client makes it."""
    future = CallFuture()
    future.value_of = value_of
    future.waited_for = waited_for
    return future


def bare_future() -> CallFuture:
    """Of a call whose answer is its value."""
    return future_of()


@contextmanager
def far_end(shared: Shared | None = None) -> Iterator[tuple[Channel, Far]]:
    """A channel, of the client that `shared` is of, and its other end."""
    client, server = pair()
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
        theirs.settimeout(30.0)
        channel = Channel(Connected(Reached(ours, b""), client, WELCOME), shared or Shared(PLACE))
        try:
            yield channel, Far(theirs, server)
        finally:
            channel.close("the test is over")
            ours.close()
