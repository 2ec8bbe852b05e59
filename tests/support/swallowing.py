"""An address that swallows what is sent to it, as one does behind a firewall or a dead network."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bgpy.address import Address
from bgpy.system.sockets import WRITABLE, poll

MOST = 64
"""Connections that a backlog of none surely doesn't take."""


@contextmanager
def swallowing(host: str, port: int = 0) -> Iterator[Address]:
    """An address of this machine whose backlog is full: whoever connects gets no answer."""
    if not sys.platform.startswith("linux"):
        pytest.skip("other systems refuse where a backlog is full, or have one loopback address")
    with contextlib.ExitStack() as stack, socket.socket() as listener:
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(MOST):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(listener.getsockname())
            if not poll(sock, 0.2, WRITABLE):
                yield Address(*listener.getsockname())
                return
        raise AssertionError("the backlog is never full")
