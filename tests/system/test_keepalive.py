"""Keepalive, as the kernel tells of it."""

from __future__ import annotations

import socket
import sys

import pytest

from bgpy.system.keepalive import COUNT, GONE, IDLE, INTERVAL, keep_alive


@pytest.mark.skipif(sys.platform != "linux", reason="other systems name the options otherwise")
def test_keep_alive_sets_all_that_linux_has() -> None:
    """A wait for a machine that is gone ends when the kernel says so."""
    with socket.socket() as sock:
        keep_alive(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        told = [
            sock.getsockopt(socket.IPPROTO_TCP, option)
            for option in (
                socket.TCP_KEEPIDLE,
                socket.TCP_KEEPINTVL,
                socket.TCP_KEEPCNT,
                socket.TCP_USER_TIMEOUT,
            )
        ]
        assert told == [IDLE, INTERVAL, COUNT, GONE * 1000]
