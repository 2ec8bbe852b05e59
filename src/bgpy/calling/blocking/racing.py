"""From the addresses that a name stands for to a connection with the first that answers.

::

    addresses ──► one is begun; the next beside it after `STAGGER` seconds, or when it has failed
                  the first that is connected wins, and the others are closed

As RFC 8305 advises: an address that swallows what is sent to it, of a network without a way out
for example, costs a moment and not the whole time.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Sequence
from time import monotonic

from bgpy.address import Address
from bgpy.system.deadlines import is_over
from bgpy.system.sockets import send_at_once, writable
from bgpy.system.strikes import is_strike

STAGGER = 0.25
"""Seconds that an address has before the next is tried too; less where time is short."""

LEAST = 0.001
"""Seconds that any address has, even if the time is over."""


def race(places: Sequence[Address], deadline: float) -> tuple[socket.socket, Address]:
    """A connection to the first of these numeric addresses that has one, and that address.

    Raises `OSError` where none has by `deadline`: `TimeoutError` if any of them said nothing,
    else `ConnectionRefusedError` if any refused.
    """
    ahead, failures = deque(places), list[OSError]()
    begun: dict[socket.socket, Address] = {}
    try:
        while ahead or begun:
            if ahead:
                place = ahead.popleft()
                try:
                    begun[_begin(place)] = place
                except OSError as error:
                    if is_strike(error):
                        raise
                    failures.append(error)
                    continue
            left = max(LEAST, deadline - monotonic())
            ended = writable(begun, min(left / (len(ahead) + 1), STAGGER) if ahead else left)
            for sock in ended:
                failure = _failure(sock)
                if failure is None:
                    sock.settimeout(max(LEAST, deadline - monotonic()))
                    return sock, begun.pop(sock)
                failures.append(failure)
                sock.close()
                del begun[sock]
            if not ended and is_over(deadline):
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    finally:
        for sock in begun:
            sock.close()
    raise _telling(failures)


def _begin(place: Address) -> socket.socket:
    """A socket that is being connected to a numeric host."""
    # As bytes: for texts Python imports the encoding of international names.
    found = socket.getaddrinfo(place.host.encode(), place.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, sockaddr = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        send_at_once(sock, str(sockaddr[0]))
        try:
            sock.connect(sockaddr)
        except BlockingIOError as error:
            if is_strike(error):
                raise
        return sock
    except BaseException:
        sock.close()
        raise


def _failure(sock: socket.socket) -> OSError | None:
    """Why a socket that was being connected isn't; None if it is."""
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        return OSError(number, os.strerror(number))
    try:
        if sock.getsockname() != sock.getpeername():
            return None
    except OSError as error:
        if is_strike(error):
            raise
        return error  # closed already by the other side
    # A port of the ephemeral range that nobody listens on can connect to itself.
    return ConnectionRefusedError("nothing listens there")


def _telling(failures: list[OSError]) -> OSError:
    """The one that tells most: nothing is said to run only where each address could say so."""
    for kind in (TimeoutError, ConnectionRefusedError):
        for each in failures:
            if isinstance(each, kind):
                return each
    return failures[-1]
