"""The door: takes connections from the listener as long as there is room for them.

A connection is *half-open* until its client has proved the token. Where there are too
many of those, or no room is left at all, the oldest of them makes room for the next:
an honest client needs one round trip, so those that are old are slow or worse. Where
nobody can be dropped, clients wait in the backlog. Some descriptors are reserved, so that
a task can still open its files however many clients connect.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

from bgpy.config import Limits
from bgpy.serving.io.agenda import Deadline
from bgpy.serving.io.listener import Arrival, Listener, TurnedAway
from bgpy.serving.io.poller import READ
from bgpy.serving.io.reactor import Reactor
from bgpy.serving.sessions.session import Session
from bgpy.shortage import shortage
from bgpy.system import descriptors, reserve

log = logging.getLogger("bgpy.server")


class Acceptor:
    """Accepts connections, and knows which are half-open; on the thread that polls."""

    def __init__(
        self,
        listener: Listener,
        limits: Limits,
        reactor: Reactor,
        make_session: Callable[[Arrival], Session],
        turned_away: Callable[[str, str], None],
    ) -> None:
        """`turned_away` is called for each rejected connection, with the peer and the reason."""
        self._listener = listener
        self._limits = limits
        self._reactor = reactor
        self._make_session = make_session
        self._turned_away = turned_away
        self.sessions: set[Session] = set()
        self._half_open: dict[Session, None] = {}  # the oldest first
        self._of_client: dict[bytes, tuple[Session, ...]] = {}  # those that proved the token
        self._most = descriptors.for_clients(limits.max_connections)
        self._most_half_open = min(limits.max_half_open, self._most)
        self._accepting = False
        self._again: Deadline | None = None  # when it is tried again, where there was no room
        self._refusal_logged = -limits.handshake_timeout

    def open(self) -> None:
        """Begin to accept; called before `Reactor.serve`."""
        self._listener.sock.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Accept no more and give the port back; the sessions stay."""
        self._wait_no_more()
        self._reactor.unregister(self._listener.sock)
        self._listener.close()

    def close_in_child(self) -> None:
        """In a forked child: give back every descriptor without a word to anyone."""
        self._listener.close_in_child()
        for session in self.sessions:
            session.close_in_child()

    def proved(self, session: Session) -> None:
        """Note that the client of `session` has proved the token."""
        self._half_open.pop(session, None)
        others = self._of_client.get(session.client_id, ())
        self._of_client[session.client_id] = (*others, session)

    def resume(self, client_id: bytes) -> None:
        """Read the client again whose line of requests was full."""
        for session in self._of_client.get(client_id, ()):
            session.resume()

    def closed(self, session: Session) -> None:
        """Forget a session that has closed."""
        self.sessions.discard(session)
        self._half_open.pop(session, None)
        if sessions := self._of_client.get(session.client_id):
            if others := tuple(each for each in sessions if each is not session):
                self._of_client[session.client_id] = others
            else:
                del self._of_client[session.client_id]
        self._resume()

    def _accept(self, events: int) -> None:
        why = ""
        if len(self.sessions) >= self._most:
            why = f"there are {len(self.sessions)} connections (max_connections)"
        elif descriptors.is_scarce(self._listener.sock.fileno()):
            why = "the remaining file descriptors are reserved for tasks (raise ulimit -n)"
        elif not reserve.keep():
            why = "out of memory"
        if why and not self._make_room(why):
            return
        try:
            arrival = self._listener.accept()
        except TurnedAway as error:
            self._turned_away(*error.args)
            return
        except (OSError, MemoryError) as error:
            self._failed(error)
            return
        try:
            self._welcome(arrival)
        except (OSError, MemoryError) as error:
            arrival.stream.close()
            self._failed(error)

    def _failed(self, error: OSError | MemoryError) -> None:
        if isinstance(error, MemoryError):
            reserve.give_back()
        if isinstance(error, MemoryError) or shortage(error) is not None:
            self._make_room(str(error) or "out of memory")
        # Else it was gone already.

    def _welcome(self, arrival: Arrival) -> None:
        session = self._make_session(arrival)
        try:
            self.sessions.add(session)
            self._half_open[session] = None
            session.open()
        except BaseException:
            # Watched or not, with a deadline or without: nobody would ever look after it.
            session.drop("dropped: an exception interrupted the server as it connected")
            raise
        if len(self._half_open) > self._most_half_open:
            self._drop_oldest("too many had not proved the token (max_half_open)")

    def _make_room(self, why: str) -> bool:
        """Drop the oldest that is half-open; without one, accept nobody for a time."""
        if monotonic() - self._refusal_logged > self._limits.handshake_timeout:
            self._refusal_logged = monotonic()
            log.warning("the server can't accept clients: %s", why)
        if self._half_open:
            self._drop_oldest(why)
            return True
        # They stay in the backlog: it is readable, and polling it would only spin.
        self._accepting = False
        self._reactor.unregister(self._listener.sock)
        self._wait_no_more()
        self._again = self._reactor.after(self._limits.handshake_timeout, self._resume)
        return False

    def _wait_no_more(self) -> None:
        """Each connection that ends has the door opened: one timer at a time is enough."""
        if self._again is not None:
            self._again.cancel()

    def _drop_oldest(self, why: str) -> None:
        oldest = next(iter(self._half_open))
        oldest.drop(f"dropped without a proof of the token: {why}")

    def _resume(self) -> None:
        sock = self._listener.sock
        if not self._accepting and sock.fileno() >= 0:
            self._reactor.unregister(sock)  # where an exception has struck just before the mark
            self._reactor.register(sock, READ, self._accept)
            self._accepting = True
