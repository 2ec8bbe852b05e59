"""Binding the port, and saying why where that fails."""

from __future__ import annotations

import errno
import os
import socket

from bgpy.address import Address, family, in_ephemeral_range, is_loopback, resolve
from bgpy.errors import StartupError

BACKLOG = 512


def listen(address: Address) -> socket.socket:
    """Listen on `address`; port 0 takes a free one.

    Raises `StartupError` if the host is unknown, not this machine's or beyond loopback,
    or the port is taken or not allowed.
    """
    try:
        place = resolve(address)[0]
    except OSError as error:
        raise StartupError(f"{address.host} is no known host: {error}") from error
    if not is_loopback(address):
        raise _beyond_loopback(address, place)
    sock = socket.socket(family(place), socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            # Takes a port whose last connections still wind down, never one in use.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)  # type: ignore[attr-defined, unused-ignore]
        sock.bind(place)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _refused(address, error) from error
    return sock


def _beyond_loopback(address: Address, place: Address) -> StartupError:
    if not _is_here(place):
        return StartupError(f"{address.host} is not an address of this machine: use 127.0.0.1")
    return StartupError(
        f"{address.host} can be reached from other machines, which needs TLS, and this version "
        "has none: use 127.0.0.1, and 'ssh -L' from elsewhere"
    )


def _is_here(place: Address) -> bool:
    with socket.socket(family(place), socket.SOCK_STREAM) as probe:
        try:
            probe.bind((place.host, 0))
        except OSError:
            return False
    return True


def _refused(address: Address, error: OSError) -> StartupError:
    if error.errno == errno.EADDRINUSE:
        text = f"port {address.port} on {address.host} is taken by another program"
        if in_ephemeral_range(address.port):
            text += (
                " (or by an outgoing connection: the port lies in the range from which the "
                "system gives them out; one below it is safer)"
            )
        return StartupError(f"{text}: stop that program, or use another port (0 takes a free one)")
    if error.errno == errno.EADDRNOTAVAIL:
        return StartupError(f"{address.host} is not an address of this machine: use 127.0.0.1")
    if error.errno == errno.EACCES:
        return StartupError(f"port {address.port} is not allowed for this user: use one above 1023")
    return StartupError(f"can't listen on {address}: {error}")
