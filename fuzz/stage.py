"""A server's session without sockets, threads and clocks: bytes in, bytes out, by hand.

The session, its connection and the server's handlers are the real ones. What is queued never
runs, so nothing is ever unpickled here: whatever is, is a defect.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from bgpy.address import Address
from bgpy.codec.modules import Catalogue
from bgpy.config import Limits
from bgpy.engines.inline import InlineEngine
from bgpy.memory import Piece
from bgpy.serving import core
from bgpy.serving.core import Events, ServerCore
from bgpy.serving.ending import EndingState
from bgpy.serving.io.listener import listen
from bgpy.serving.io.transport import StreamTransport
from bgpy.serving.sessions.session import Session
from bgpy.tls import certificates, contexts
from bgpy.tls.layer import TlsLayer
from bgpy.wire.connection import Connection
from bgpy.wire.handshake import ClientHandshake, ServerHandshake, ServerTerms, Welcome, derive_key

TOKEN = "of-the-fuzzer-and-long-enough-not-to-be-stretched"
SERVER_ID, CLIENT_ID = b"s" * 16, b"c" * 16
SERVER_NONCE, CLIENT_NONCE = b"S" * 32, b"C" * 32
KEY = derive_key(TOKEN, SERVER_ID)
LIMITS = Limits(max_message=2**16, max_buffers=8)
TERMS = ServerTerms(LIMITS.max_message, LIMITS.max_buffers, 0b10)
WELCOME = Welcome(b"i" * 16, b"b" * 16, 5, 6, (3, 11, 7), "1.0.0")

ALLOCATED = 2**20
"""Bytes that one connection may allocate for what a peer announces; the limits allow less."""


def allocate(size: int) -> memoryview:
    """Give memory, and fail loudly where a peer's word alone would take much."""
    assert 0 < size <= ALLOCATED, f"{size} bytes were to be allocated"
    return memoryview(bytearray(size))


def server_handshake(nonce: bytes = SERVER_NONCE) -> ServerHandshake:
    """A handshake of which everything is known beforehand, but for another nonce."""
    return ServerHandshake(SERVER_ID, nonce, KEY, TERMS, WELCOME)


def client_handshake() -> ClientHandshake:
    """The client's side of the same."""
    return ClientHandshake(CLIENT_ID, CLIENT_NONCE, TOKEN)


def connected() -> tuple[Connection, Connection]:
    """The client's and the server's side of a connection whose handshake is done."""
    client = Connection.client_side(client_handshake(), allocate)
    server = Connection.server_side(server_handshake(), LIMITS, allocate)
    while not client.established:
        server.receive(client.take_outgoing())
        client.receive(server.take_outgoing())
    return client, server


@cache
def _identity() -> contexts.Identity:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "identity.pem"
        path.write_bytes(certificates.make())
        return contexts.identity(str(path))


def tls_engine(server_side: bool) -> TlsLayer:
    """A fresh engine of one side."""
    context = _identity().context if server_side else contexts.for_client()
    return TlsLayer(context, server_side)


class Pipe:
    """A socket that gives the bytes of one list and keeps those that it gets."""

    def __init__(self) -> None:
        self.incoming: list[bytes] = []
        self.ended = False
        self.outgoing = bytearray()
        self.closed = False

    def recv_into(self, memory: memoryview) -> int:
        """Give what is there."""
        if not self.incoming:
            if self.ended:
                return 0
            raise BlockingIOError
        data = self.incoming.pop(0)
        size = min(len(data), len(memory))
        memory[:size] = data[:size]
        if size < len(data):
            self.incoming.insert(0, data[size:])
        return size

    def send(self, data: Piece) -> int:
        """Take all."""
        self.outgoing += data
        return len(data)

    def sendmsg(self, pieces: Sequence[Piece]) -> int:
        """Take all."""
        return sum(map(self.send, pieces))

    def setblocking(self, flag: bool) -> None:
        """It never waits."""

    def fileno(self) -> int:
        """It has no descriptor."""
        return -1

    def shutdown(self, how: int) -> None:
        """Nobody reads on."""

    def close(self) -> None:
        """Note that it is over."""
        self.closed = True


class StillReactor:
    """Watches nothing; what is to happen before the next poll happens when `hear` says so."""

    def __init__(self) -> None:
        self._changes: list[Callable[[], None]] = []
        self.interrupted = False

    class _Deadline:
        def cancel(self) -> None:
            pass

    def register(self, sock: Any, events: int, handler: Callable[[int], None]) -> None:
        pass

    def modify(self, sock: Any, events: int, handler: Callable[[int], None]) -> None:
        pass

    def unregister(self, sock: Any) -> None:
        pass

    def after(self, seconds: float, expired: Callable[[], None]) -> Any:
        return self._Deadline()

    def change(self, change: Callable[[], None]) -> None:
        self._changes.append(change)

    def tend(self) -> None:
        pass

    def poll(self) -> None:
        """Do what is to happen before a poll."""
        while self._changes:
            self._changes.pop(0)()


class Stage:
    """A real server of which only sessions are used."""

    def __init__(self) -> None:
        listener = listen(Address("127.0.0.1", 0))
        nothing = lambda *_: None  # noqa: E731
        events = Events(*[nothing] * 7)
        catalogue = Catalogue()
        engine = InlineEngine(catalogue, None)
        self._reactor = StillReactor()
        with patch.object(core, "Reactor", lambda *_: self._reactor):
            self.server = ServerCore(listener, TOKEN, LIMITS, engine, catalogue, False, events, 0)
        listener.close()

    def session(self, nonce: bytes = SERVER_NONCE) -> tuple[Session, Pipe]:
        """A session that has just been accepted, and its transport."""
        pipe = Pipe()
        handshake = server_handshake(nonce)
        session = Session(StreamTransport(pipe), "a stranger", handshake, self.server._context)
        session.open()
        self._reactor.poll()
        return session, pipe

    def forget(self) -> None:
        """Drop what was queued, and that the server was asked to end."""
        ending = self.server._parts.ending
        ending.close()
        ending.state = EndingState.SERVING
        ending.begun = False
        self.server._jobs.clear()


def hear(session: Session, pipe: Pipe, pieces: Sequence[bytes], ends: bool = True) -> None:
    """Let the session read `pieces`, one at a time, and then the end of the stream."""
    for piece in pieces:
        if pipe.closed:
            return
        pipe.incoming.append(piece)
        while pipe.incoming and not pipe.closed:
            _turn(session)
    if ends and not pipe.closed:
        pipe.ended = True
        _turn(session)


def _turn(session: Session) -> None:
    """One turn of a reactor in which the socket can be read."""
    session._inflow.ready(1)
    cast(StillReactor, session._context.reactor).poll()
