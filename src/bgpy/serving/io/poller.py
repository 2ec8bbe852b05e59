"""The sockets that a reactor watches, through the best selector of the platform.

On Linux epoll is used directly: `EpollSelector.select` works in Python, and takes longer
than everything else that a small call needs of it; and what a selector keeps of each
socket would be a tenth of what an idle client costs.
"""

from __future__ import annotations

import errno
import logging
import selectors
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

if sys.platform == "linux":
    import select

log = logging.getLogger("bgpy.server")

READ = selectors.EVENT_READ
"""The same number as epoll's EPOLLIN."""
WRITE = selectors.EVENT_WRITE

STRUCK = 0
"""What a handler is called with that an exception has left in the middle."""

ALONE = READ | 1 << 15
"""`READ`, on the task thread while no job waits: what the socket has may run next. Others may be
ready as well: the poll was asked for one, and gives them in turn."""


class Watched(Protocol):
    """What can be watched: anything with a socket's descriptor."""

    def fileno(self) -> int:
        """The descriptor."""


OnReady = Callable[[int], None]
"""Called with the events (`READ`, `WRITE`, or `ALONE`) that a socket is ready for."""

MOST_READY = 42
"""Sockets that one poll tells of at most, each of which takes epoll 12 bytes: Python has a place
for 512 at any time, and would ask the system for 12 KiB otherwise, which may have none left. The
others come first the next time."""

Wait = Callable[[float | None, int], Sequence[tuple[int, int]]]
"""Gives the descriptors that are ready within that many seconds, and for what; so many at most."""


class Poller:
    """Watches sockets for one thread at a time."""

    def __init__(self) -> None:
        self.handlers: dict[int, OnReady] = {}
        """By descriptor."""
        self.at: int | None = None
        """The descriptor whose handler is called; kept where an exception leaves it."""
        self._selector = _Selector()
        self.wait: Wait = self._selector.poll
        """Poll without calling any handler."""

    def register(self, sock: Watched, events: int, handler: OnReady) -> None:
        """Watch `sock` for `events`."""
        fd = sock.fileno()
        # First: a socket that is watched without a handler would be ready again and again.
        self.handlers[fd] = handler
        self._selector.register(fd, events)

    def modify(self, sock: Watched, events: int, handler: OnReady) -> None:
        """Watch `sock` for other `events`."""
        fd = sock.fileno()
        self.handlers[fd] = handler
        self._selector.modify(fd, events)

    def unregister(self, sock: Watched) -> None:
        """Watch `sock` no longer; harmless if repeated."""
        fd = sock.fileno()
        self.handlers.pop(fd, None)
        if self.at == fd:
            self.at = None  # the number may soon be another's
        self._selector.unregister(fd)

    def poll(self, timeout: float | None) -> None:
        """Call the handlers of all sockets that are ready within `timeout` seconds."""
        if self.at is not None:
            # A signal handler of a task's has struck it; what it had received may be lost.
            handler = self.handlers.get(self.at)
            if handler is not None:
                handler(STRUCK)
            self.at = None
        self.call(self.wait(timeout, MOST_READY))

    def call(self, ready: Sequence[tuple[int, int]]) -> None:
        """Call the handlers of all that `wait` has found ready."""
        for fd, events in ready:
            handler = self.handlers.get(fd)
            if handler is None:
                continue  # one that was called before it has closed this socket
            self.at = fd
            try:
                handler(events if events == READ else _events(events))
            except Exception:
                log.exception("a socket's handler failed")
            self.at = None

    def failed(self, fd: int, error: BaseException) -> None:
        """Log what the handler of `fd` has raised; raises what a signal handler's has."""
        if isinstance(error, Exception):
            log.error("a socket's handler failed", exc_info=error)
            return
        if fd in self.handlers:  # else it is closed, and the number soon another's
            self.at = fd
        raise error

    def is_closed(self) -> bool:
        """Whether polling fails since its descriptor is closed, or is something else by now."""
        try:
            self.wait(0, 1)
        except OSError as error:
            return error.errno in (errno.EBADF, errno.EINVAL)
        return False

    def close(self) -> None:
        """Give back the descriptors without touching what is watched."""
        self._selector.close()
        self.handlers.clear()


if sys.platform == "linux":

    class _Selector:
        """Descriptors, and the events that each is watched for."""

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self.poll = self._epoll.poll
            self.close = self._epoll.close

        def register(self, fd: int, events: int) -> None:
            self._epoll.register(fd, _epoll_events(events))

        def modify(self, fd: int, events: int) -> None:
            self._epoll.modify(fd, _epoll_events(events))

        def unregister(self, fd: int) -> None:
            try:
                self._epoll.unregister(fd)
            except (OSError, ValueError):
                pass  # done already, up to where a signal handler of a task's has raised

    def _epoll_events(events: int) -> int:
        return (events & READ) | (select.EPOLLOUT if events & WRITE else 0)

    def _events(epoll_events: int) -> int:
        """As `selectors` tells them: an end or an error is worth reading and writing."""
        return (READ if epoll_events & ~select.EPOLLOUT else 0) | (
            WRITE if epoll_events & ~select.EPOLLIN else 0
        )

else:

    class _Selector:
        """Descriptors, and the events that each is watched for."""

        def __init__(self) -> None:
            self._selector = selectors.DefaultSelector()
            self.close = self._selector.close
            self._ready: list[tuple[int, int]] = []  # found, and not told yet

        def register(self, fd: int, events: int) -> None:
            self._selector.register(fd, events)

        def modify(self, fd: int, events: int) -> None:
            self._selector.modify(fd, events)

        def unregister(self, fd: int) -> None:
            self._ready = [each for each in self._ready if each[0] != fd]
            try:
                self._selector.unregister(fd)
            except (KeyError, ValueError):
                pass  # done already, up to where a signal handler of a task's has raised

        def poll(self, timeout: float | None, most: int) -> list[tuple[int, int]]:
            # A selector tells of all, in the same order each time: the others come first next.
            if not self._ready:
                self._ready = [(key.fd, events) for key, events in self._selector.select(timeout)]
            told, self._ready = self._ready[:most], self._ready[most:]
            return told

    def _events(events: int) -> int:
        return events
