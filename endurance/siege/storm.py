"""Inputs over real connections: each its own connection, many of them at once, one thread."""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

AT_ONCE = 200
_RESET = struct.pack("ii", 1, 0)
"""Closing with a reset leaves nothing behind that would use up the ports."""


class Weather(NamedTuple):
    """What a storm was like."""

    inputs: int
    slowest: float
    """Seconds from connecting to the end of the slowest connection."""
    hung: int
    """Connections that were not ended by the server within a second."""
    refused: int
    """Connections that could not be made."""


class _Peer(NamedTuple):
    sock: socket.socket
    data: bytes
    since: float


def storm(port: int, data: Iterable[bytes], hang: float = 1.0) -> Weather:
    """Send each of `data` on a connection of its own, then the end of the stream."""
    waiting: Iterator[bytes] = iter(data)
    poll = select.epoll()
    peers: dict[int, _Peer] = {}
    inputs = hung = refused = 0
    slowest = 0.0
    more = True
    while peers or more:
        while more and len(peers) < AT_ONCE:
            each = next(waiting, None)
            if each is None:
                more = False
                break
            peer = _connect(port, each)
            peers[peer.sock.fileno()] = peer
            poll.register(peer.sock, select.EPOLLOUT)
        for fd, events in poll.poll(hang):
            peer = peers[fd]
            if events & select.EPOLLOUT and not events & select.EPOLLERR:
                poll.modify(fd, select.EPOLLIN if _send(peer) else select.EPOLLHUP)
            elif not _heard_the_end(peer.sock):
                continue
            else:
                refused += events & select.EPOLLERR and _never_connected(peer.sock)
                took = time.monotonic() - peer.since
                slowest, hung, inputs = max(slowest, took), hung + (took > hang), inputs + 1
                poll.unregister(fd)
                peer.sock.close()
                del peers[fd]
        late = time.monotonic() - 30 * hang
        for fd, peer in [each for each in peers.items() if each[1].since < late]:
            hung, inputs = hung + 1, inputs + 1
            poll.unregister(fd)
            peer.sock.close()
            del peers[fd]
    poll.close()
    return Weather(inputs, slowest, hung, refused)


def _connect(port: int, data: bytes) -> _Peer:
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    code = sock.connect_ex(("127.0.0.1", port))
    if code not in (0, errno.EINPROGRESS):
        raise OSError(code, "no connection could be begun")
    return _Peer(sock, data, time.monotonic())


def _send(peer: _Peer) -> bool:
    try:
        peer.sock.send(peer.data)
        peer.sock.shutdown(socket.SHUT_WR)
    except OSError:
        return False  # the server was first
    return True


def _heard_the_end(sock: socket.socket) -> bool:
    try:
        while sock.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _never_connected(sock: socket.socket) -> int:
    return int(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED)
