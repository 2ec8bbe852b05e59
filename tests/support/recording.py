"""A whole conversation of a client with its server, recorded from both directions."""

from __future__ import annotations

import pickle
import secrets
import socket
from typing import NamedTuple

from bgpy.memory import allocate
from bgpy.wire.connection import Connection
from bgpy.wire.handshake import ClientHandshake
from bgpy.wire.messages import (
    Cancel,
    Execute,
    Goodbye,
    Message,
    Modules,
    Ping,
    Status,
)
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
    sent, received, starts = b"", b"", []
    handshake = ClientHandshake(secrets.token_bytes(16), secrets.token_bytes(32), token)
    connection = Connection.client_side(handshake, allocate)
    with connect(port) as sock:
        while not connection.established:
            outgoing = connection.take_outgoing()
            starts += [len(sent)] if outgoing else []
            sent += _send(sock, outgoing)
            data = sock.recv(65536)
            received += data
            connection.receive(data)
        for message in conversation():
            starts.append(len(sent))
            sent += _send(sock, b"".join(connection.send(message)))
        while data := sock.recv(65536):
            received += data
    return Recording(sent, received, tuple(starts))


def _send(sock: socket.socket, data: bytes) -> bytes:
    sock.sendall(data)
    return data
