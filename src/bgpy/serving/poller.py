"""The sockets that a reactor watches, through the best selector of the platform.

On Linux the selector's own epoll instance is polled directly: `EpollSelector.select`
works in Python, and takes longer than everything else that a small call needs of it.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
from collections.abc import Callable, Sequence

if sys.platform == "linux":
    import select

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

Handler = Callable[[int], None]
"""Called with the events (`READ`, `WRITE`) that a socket is ready for."""


class Poller:
    """Watches sockets for one thread at a time."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._handlers: dict[int, Handler] = {}
        if sys.platform == "linux":
            assert isinstance(self._selector, selectors.EpollSelector)
            # Of its own descriptor, so that each can be closed.
            self._epoll = select.epoll.fromfd(os.dup(self._selector.fileno()))

    def register(self, sock: socket.socket, events: int, handler: Handler) -> None:
        """Watch `sock` for `events`."""
        key = self._selector.register(sock, events, handler)
        self._handlers[key.fd] = handler

    def modify(self, sock: socket.socket, events: int, handler: Handler) -> None:
        """Watch `sock` for other `events`."""
        key = self._selector.modify(sock, events, handler)
        self._handlers[key.fd] = handler

    def unregister(self, sock: socket.socket) -> None:
        """Watch `sock` no longer."""
        key = self._selector.unregister(sock)
        del self._handlers[key.fd]

    def poll(self, timeout: float | None) -> Sequence[tuple[Handler, int]]:
        """The handlers whose sockets are ready within `timeout` seconds, and for what."""
        if sys.platform == "linux":
            handlers = self._handlers
            return [
                (handlers[fd], READ if events == select.EPOLLIN else _events(events))
                for fd, events in self._epoll.poll(timeout)
            ]
        return [(key.data, events) for key, events in self._selector.select(timeout)]

    def close(self) -> None:
        """Give back the descriptors without touching what is watched."""
        self._selector.close()
        self._handlers.clear()
        if sys.platform == "linux":
            self._epoll.close()


if sys.platform == "linux":

    def _events(epoll_events: int) -> int:
        """As `selectors` tells them: an end or an error is worth reading and writing."""
        return (READ if epoll_events & ~select.EPOLLOUT else 0) | (
            WRITE if epoll_events & ~select.EPOLLIN else 0
        )
