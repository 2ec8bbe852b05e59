"""The door: takes connections from the listener as long as there is room for them.

A connection is *half-open* until its client has proved the token. Where there are too
many of those, or no room is left at all, the oldest of them makes room for the next:
an honest client needs one round trip, so those that are old are slow or worse. Where
nobody can be dropped, clients wait in the backlog.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from time import monotonic

from bgpy.config import Limits
from bgpy.serving.poller import READ
from bgpy.serving.reactor import Reactor
from bgpy.serving.session import Session

log = logging.getLogger("bgpy.server")

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Accepts connections, and knows which are half-open; on the thread that polls."""

    def __init__(
        self,
        listener: socket.socket,
        limits: Limits,
        reactor: Reactor,
        make_session: Callable[[socket.socket, str], Session],
    ) -> None:
        self._listener = listener
        self._limits = limits
        self._reactor = reactor
        self._make_session = make_session
        self.sessions: set[Session] = set()
        self._half_open: dict[Session, None] = {}  # the oldest first
        self._accepting = False
        self._refusal_logged = -limits.handshake_timeout

    def open(self) -> None:
        """Begin to accept; called before `Reactor.serve`."""
        self._listener.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Accept no more and give the port back; the sessions stay."""
        if self._accepting:
            self._accepting = False
            self._reactor.unregister(self._listener)
        self._listener.close()

    def close_in_child(self) -> None:
        """In a forked child: give back every descriptor without a word to anyone."""
        self._listener.close()
        for session in self.sessions:
            session.close_in_child()

    def proved(self, session: Session) -> None:
        """Note that the client of `session` has proved the token."""
        self._half_open.pop(session, None)

    def closed(self, session: Session) -> None:
        """Forget a session that has closed."""
        self.sessions.discard(session)
        self._half_open.pop(session, None)
        self._resume()

    def _accept(self, events: int) -> None:
        if len(self.sessions) >= self._limits.max_connections:
            why = f"there are {len(self.sessions)} connections (max_connections)"
            if not self._make_room(why):
                return
        sock: socket.socket | None = None
        try:
            sock, address = self._listener.accept()
            self._welcome(sock, f"{address[0]}:{address[1]}")
        except (OSError, MemoryError) as error:
            if sock is not None:
                sock.close()
            if isinstance(error, MemoryError) or error.errno in _EXHAUSTED:
                self._make_room(str(error) or "out of memory")
            # Else it was gone already.

    def _welcome(self, sock: socket.socket, peer: str) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        session = self._make_session(sock, peer)
        self.sessions.add(session)
        self._half_open[session] = None
        session.open()
        if len(self._half_open) > self._limits.max_half_open:
            self._drop_oldest("too many had not proved the token (max_half_open)")

    def _make_room(self, why: str) -> bool:
        """Drop the oldest that is half-open; without one, accept nobody for a time."""
        if monotonic() - self._refusal_logged > self._limits.handshake_timeout:
            self._refusal_logged = monotonic()
            log.warning("clients can't be accepted: %s", why)
        if self._half_open:
            self._drop_oldest(why)
            return True
        # They stay in the backlog: it is readable, and polling it would only spin.
        self._accepting = False
        self._reactor.unregister(self._listener)
        self._reactor.after(self._limits.handshake_timeout, self._resume)
        return False

    def _drop_oldest(self, why: str) -> None:
        oldest = next(iter(self._half_open))
        oldest.drop(f"dropped without a proof of the token: {why}")

    def _resume(self) -> None:
        if not self._accepting and self._listener.fileno() >= 0:
            self._reactor.register(self._listener, READ, self._accept)
            self._accepting = True
