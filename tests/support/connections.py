"""The two sides of a connection in memory, and payloads of every shape for them."""

from __future__ import annotations

from collections.abc import Callable

from bgpy.config import Limits
from bgpy.memory import Payload, Within
from bgpy.wire.connection import Connection
from bgpy.wire.extensions import Extension, encode_extensions
from bgpy.wire.handshake import (
    ClientHandshake,
    ServerHandshake,
    ServerTerms,
    Welcome,
    derive_key,
)
from bgpy.wire.messages import (
    Message,
)

TOKEN = "t" * 32
SERVER_ID = b"s" * 16
LIMITS = Limits(max_message=200_000, max_buffers=4)
TERMS = ServerTerms(LIMITS.max_message, LIMITS.max_buffers)
WELCOME = Welcome(b"i" * 16, b"b" * 16, 5, 6, (3, 11, 7), "1.0.0")
LARGE = memoryview(b"large" * 10_000)


BLOCK = encode_extensions({Extension.CHAIN: bytes(48), 200: b"later"}, {Extension.CHAIN})

PAYLOADS: list[Payload] = [
    (b"", (), False),
    (b"small", (), False),
    (b"with bytecode", (), True),
    (b"large" * 20_000, (), False),
    ((b"in ", memoryview(b"parts")), (), False),
    (b"head", [LARGE], False),
]


def memory(size: int) -> memoryview:
    return memoryview(bytearray(size))


def make_client(token: str | None = TOKEN, within: Within | None = None) -> Connection:
    return Connection.client_side(ClientHandshake(b"c" * 16, b"n" * 32, token), memory, within)


def make_server(
    allocate: Callable[[int], memoryview] = memory, within: Within | None = None
) -> Connection:
    key = derive_key(TOKEN, SERVER_ID)
    handshake = ServerHandshake(SERVER_ID, b"m" * 32, key, TERMS, WELCOME)
    return Connection.server_side(handshake, LIMITS, allocate, within)


def pair(
    allocate: Callable[[int], memoryview] = memory, within: Within | None = None
) -> tuple[Connection, Connection]:
    """A client's and a server's side that are through with the handshake."""
    client, server = make_client(within=within), make_server(allocate, within)
    for _ in range(2):
        assert server.receive(client.take_outgoing()) == []
        assert client.receive(server.take_outgoing()) == []
    assert client.established
    assert server.established
    return client, server


def sent(sender: Connection, message: Message) -> bytes:
    return b"".join(sender.send(message))


def comparable(message: Message) -> tuple[object, ...]:
    """A message with its memory as `bytes`."""
    return (
        type(message),
        *(
            [bytes(part) for part in value]
            if isinstance(value, list | tuple)
            else bytes(value)
            if isinstance(value, memoryview)
            else value
            for value in message  # type: ignore[attr-defined]
        ),
    )
