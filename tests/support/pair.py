"""The two ends of a connection: a session of a server, and a client that speaks the wire."""

from __future__ import annotations

import secrets
import socket
import sys
import threading
from dataclasses import asdict

import pytest

from bgpy.config import Limits
from bgpy.errors import BgpyError
from bgpy.serving.budget import Budget
from bgpy.serving.io.transport import StreamTransport
from bgpy.serving.sessions.owner import SessionContext
from bgpy.serving.sessions.session import Session
from bgpy.wire.handshake import ServerHandshake, ServerTerms, Welcome, derive_key
from bgpy.wire.messages import Goodbye, Message
from bgpy.wire.table import TO_SERVER
from tests.support.loop import LONG, Loop
from tests.support.peer import Peer

TOKEN = "t" * 32
SERVER_ID = b"s" * 16
KEY = derive_key(TOKEN, SERVER_ID)
WELCOME = Welcome(b"i" * 16, b"b" * 16, 5, 6, (3, 11, 7), "1.0.0")
LIMITS = Limits(max_message=2**24, max_buffers=64, handshake_timeout=LONG)
FILLS_A_SOCKET = pytest.mark.skipif(
    sys.platform == "win32", reason="its sockets take megabytes that nobody reads"
)
"""Of a test in which a client that reads nothing leaves no room for what it is sent."""

TERMS = ServerTerms(LIMITS.max_message, LIMITS.max_buffers)


class SessionOwner:
    """What a session hands its messages to: keeps them."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.came = threading.Semaphore(0)
        self.gone = threading.Event()
        self.is_clogged = threading.Event()
        self.not_clogged = threading.Event()
        self.times_closed = 0
        self.times_dropped = 0
        self.proofs = 0
        kept = dict.fromkeys(TO_SERVER.encoders, self._keep)
        self.handlers = {**kept, Goodbye: lambda session, message: session.close()}

    def _keep(self, session: Session, message: Message) -> None:
        self.messages.append(message)
        self.came.release()

    def take_row(self, session: Session, data: bytearray, size: int, alone: bool) -> int:
        return 0

    def take_alone(self, session: Session, data: bytearray, size: int) -> bool:
        return False

    @property
    def road(self) -> SessionOwner:
        """Leaves all to the general road."""
        return self

    def proved(self, session: Session) -> None:
        self.proofs += 1

    def queued(self, client_id: bytes) -> int:
        return 0

    def clogged(self, session: Session) -> None:
        self.is_clogged.set()
        self.not_clogged.clear()

    def cleared(self, session: Session) -> None:
        self.is_clogged.clear()
        self.not_clogged.set()

    def dropped(self, session: Session) -> None:
        self.times_dropped += 1

    def closed(self, session: Session) -> None:
        self.times_closed += 1
        self.gone.set()


class Pair(Peer):
    """A session on `loop`, and the client's end of its connection with small buffers."""

    def __init__(
        self,
        loop: Loop,
        token: str = TOKEN,
        transport: type[StreamTransport] = StreamTransport,
        **limits: float,
    ) -> None:
        self.loop = loop
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        theirs.settimeout(LONG)
        super().__init__(theirs, token, b"c" * 16)
        self.transport = transport(ours)
        self.service = SessionOwner()
        self.budget = Budget(int(limits.get("max_memory", LIMITS.max_memory)))
        shared = bytearray(2**16)
        handshake = ServerHandshake(SERVER_ID, secrets.token_bytes(32), KEY, TERMS, WELCOME)
        context: SessionContext[Session] = SessionContext(
            self.service,
            Limits(**asdict(LIMITS) | limits),
            loop.reactor,
            self.budget,
            shared,
            memoryview(shared),
        )
        self.session = Session(self.transport, "the peer", handshake, context)
        loop.on_poller(self.session.open)

    def close(self) -> None:
        """Leave; what the session still has to say doesn't matter."""
        self.sock.close()
        assert self.service.gone.wait(LONG), "the session didn't notice its end"


def refused(pair: Pair) -> BgpyError:
    """What a client learns that isn't let in."""
    try:
        pair.shake_hands()
    except BgpyError as error:
        return error
    raise AssertionError("it was let in")
