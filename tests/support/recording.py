"""A whole conversation of a client with its server, recorded from both directions."""

from __future__ import annotations

import pickle
import socket
from typing import NamedTuple

from bgpy.wire.messages import (
    Cancel,
    Execute,
    Goodbye,
    Message,
    Modules,
    Ping,
    Status,
)
from tests.support.peer import Peer
from tests.support.peers import connect


class Recording(NamedTuple):
    """What went over the wire, and where the client's messages begin in it."""

    sent: bytes
    received: bytes
    starts: tuple[int, ...]


def conversation(value: object = "recorded") -> list[Message]:
    """One message of each kind that a client sends, but for those that end the server."""
    head = pickle.dumps({"respond": value}, 5)
    return [
        Ping(1),
        Execute(2, head, wait=True),
        Execute(3, head),
        Status(4, '{"call": 2}'),
        Cancel(5, 3),
        Modules(6, '{"modules": ["json"]}'),
        Execute(7, head, [memoryview(b"beside it")], wait=True),
        Goodbye("recorded"),
    ]


def record(port: int, token: str) -> Recording:
    """Hold the conversation with the server at `port`."""
    starts: list[int] = []
    with Recorded(connect(port), token) as peer:
        # Half of the handshake is sent with what came of the other half, so step by step.
        while not peer.connection.established:
            outgoing = peer.connection.take_outgoing()
            starts += [len(peer.sent)] if outgoing else []
            peer.send_bytes(outgoing)
            peer.connection.receive(peer.receive_bytes())
        for message in conversation():
            starts.append(len(peer.sent))
            peer.send(message)
        while peer.receive_bytes():
            pass
        return Recording(bytes(peer.sent), bytes(peer.received), tuple(starts))


class Recorded(Peer):
    """Keeps the bytes of both directions."""

    def __init__(self, sock: socket.socket, token: str) -> None:
        super().__init__(sock, token)
        self.sent, self.received = bytearray(), bytearray()

    def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """As `Peer.send_bytes`."""
        super().send_bytes(data)
        self.sent += data

    def receive_bytes(self) -> bytes:
        """As `Peer.receive_bytes`."""
        data = super().receive_bytes()
        self.received += data
        return data
