"""A connection that may speak TLS or not, as a server takes both over loopback."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Sequence

from bgpy.memory import Piece
from bgpy.tls.layer import FIRST_BYTE
from bgpy.tls.stream import OverSocket, TlsSocket


class PlainOrTls(OverSocket):
    """An accepted connection whose first byte tells whether its client speaks TLS."""

    def __init__(self, sock: socket.socket, tls: Callable[[], TlsSocket]) -> None:
        """`tls` makes the socket that speaks it, over the same `sock`."""
        self._sock = sock
        self._tls = tls
        self._chosen: socket.socket | TlsSocket = sock
        self._undecided = True
        self._taken: list[int] = []  # what was, until the caller has been told

    @property
    def is_tls(self) -> bool:
        """Whether TLS is spoken; known once something was received."""
        return self._chosen is not self._sock

    def recv_into(self, memory: memoryview) -> int:
        """As that of the kind of socket that it turns out to be."""
        if self._undecided:
            first = self._sock.recv(1, socket.MSG_PEEK)
            if first and first[0] == FIRST_BYTE:
                self._chosen = self._tls()
            self._undecided = False
        return self._chosen.recv_into(memory)

    def send(self, data: Piece) -> int:
        """Likewise."""
        if not self._taken:
            self._taken.extend(map(self._chosen.send, (data,)))
        # Nothing is called from here on: struck before, the caller comes back and is told.
        taken = self._taken[0]
        del self._taken[0]
        return taken

    if sys.platform != "win32":

        def sendmsg(self, pieces: Sequence[Piece]) -> int:
            """Likewise."""
            if not self._taken:
                self._taken.extend(map(self._chosen.sendmsg, (pieces,)))
            taken = self._taken[0]
            del self._taken[0]
            return taken

    def shutdown(self, how: int) -> None:
        """Likewise."""
        self._chosen.shutdown(how)
