"""Hostile inputs: what was recorded of an honest client, changed, and bombs behind all of it."""

from __future__ import annotations

import pickle
import secrets
import socket
from collections.abc import Iterator

from bgpy.memory import allocate
from bgpy.wire.connection import Connection
from bgpy.wire.handshake import ClientHandshake
from bgpy.wire.messages import Execute, Init
from bgpy.wire.table import encode
from fuzz.corpus import FROM_CLIENT
from fuzz.mutation import mutations


class Bomb:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        import os

        return os.mkdir, (self.path,)


def recorded(port: int, token: str) -> bytes:
    """What an honest client says in its handshake with the server at `port`."""
    handshake = ClientHandshake(secrets.token_bytes(16), secrets.token_bytes(32), token)
    connection = Connection.client_side(handshake, allocate)
    said = b""
    with socket.create_connection(("127.0.0.1", port), 10.0) as sock:
        while not connection.established:
            outgoing = connection.take_outgoing()
            said += outgoing
            sock.sendall(outgoing)
            connection.receive(sock.recv(65536))
    return said


def inputs(handshake: bytes, mark: str, seed: int) -> Iterator[bytes]:
    """Without end: inputs that begin with (some of) `handshake`; bombs make the folder `mark`."""
    bomb = pickle.dumps(Bomb(mark), 5)
    bombs = [b"".join(encode(message)) for message in (Execute(1, bomb, wait=True), Init(2, bomb))]
    frames = [b"".join(encode(message)) for message in FROM_CLIENT]
    seeds = [bomb, *bombs, *(handshake[:size] + each for size in (0, 60, 92) for each in bombs)]
    seeds += [handshake[:60], handshake, *(handshake + each for each in frames)]
    return mutations(seeds, seed)
