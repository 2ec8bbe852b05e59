"""Somebody else on a port: it does to each connection what a test tells it to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bgpy.wire.handshake import HELLO_SIZE
from tests.support.peers import PATIENCE, read_to_end

Deed = Callable[[socket.socket], None]


@contextmanager
def thief_that(deed: Deed, port: int = 0) -> Iterator[int]:
    """Listen on a port, or a free one, and do `deed` to each connection, one after the other."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, deed))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(listener: socket.socket, deed: Deed) -> None:
    while True:
        try:
            sock = listener.accept()[0]
        except OSError:
            return
        with sock:
            sock.settimeout(PATIENCE)
            deed(sock)


def answer(sock: socket.socket, data: bytes) -> None:
    """A deed: hear a hello, say `data`, and hear the rest."""
    sock.recv(HELLO_SIZE, socket.MSG_WAITALL)
    sock.sendall(data)
    read_to_end(sock)
