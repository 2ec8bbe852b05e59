"""What the reactor watches a session's socket for, and why a session isn't read."""

from __future__ import annotations

from enum import IntFlag

from bgpy.serving.io.poller import READ, WRITE, OnReady, Watched
from bgpy.serving.io.reactor import Reactor

UNSURE = ~(READ | WRITE)
"""What is watched where an exception may have struck while that was changed."""


class Pause(IntFlag):
    """Why a session isn't read."""

    LINE_FULL = 1
    """Its client's line of requests is full."""
    CLOGGED = 2
    """Its client leaves replies unread."""


class Watch:
    """Has the reactor watch one socket; on the thread that polls."""

    __slots__ = ("_reactor", "_sock", "events", "paused", "ready")

    ready: OnReady
    """Called with the events that the socket is ready for; set before anything is watched."""

    def __init__(self, reactor: Reactor, sock: Watched) -> None:
        self._reactor = reactor
        self._sock = sock
        self.events = 0
        """What the reactor watches for, or `UNSURE`."""
        self.paused = 0
        """Why the socket isn't read: `Pause`."""

    def attend(self, writes: bool) -> None:
        """Watch for what can be done next: reading unless it is paused, and writing if `writes`."""
        self.set((0 if self.paused else READ) | (WRITE if writes else 0))

    def set(self, events: int) -> None:
        """Watch for `events`. May be called again where an exception has struck it."""
        before, sock = self.events, self._sock
        if events == before:
            return
        self.events = UNSURE
        if before == UNSURE or not events:
            self._reactor.unregister(sock)
            before = 0
        if events and before:
            self._reactor.modify(sock, events, self.ready)
        elif events:
            self._reactor.register(sock, events, self.ready)
        self.events = events

    def close(self) -> None:
        """Watch no more; called before the socket is closed."""
        if self._sock.fileno() >= 0:
            self.set(0)
