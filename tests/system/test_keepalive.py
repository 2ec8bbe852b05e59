"""Keepalive, as the kernel tells of it."""

from __future__ import annotations

import socket
import sys
import time

import pytest

from bgpy.system.keepalive import COUNT, IDLE, INTERVAL, is_silent, keep_alive


@pytest.mark.skipif(sys.platform != "linux", reason="other systems name the options otherwise")
def test_keep_alive_has_a_silent_peer_noticed() -> None:
    """And TCP_USER_TIMEOUT is left alone, which would end connections to busy peers."""
    with socket.socket() as sock:
        keep_alive(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        told = [
            sock.getsockopt(socket.IPPROTO_TCP, option)
            for option in (
                socket.TCP_KEEPIDLE,
                socket.TCP_KEEPINTVL,
                socket.TCP_KEEPCNT,
            )
        ]
        assert told == [IDLE, INTERVAL, COUNT]
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0


def test_peer_is_not_silent_when_it_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernel acknowledges each probe: it is there, and busy."""
    monkeypatch.setattr("bgpy.system.keepalive.GONE", 2)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as sock,
        listener.accept()[0],
    ):
        sock.settimeout(0)
        try:
            while True:
                sock.send(bytes(2**20))
        except BlockingIOError:
            pass  # full
        seen = []
        for _ in range(60):
            time.sleep(0.05)
            seen.append(is_silent(sock))
    assert seen == 60 * [False]


def test_unix_socket_is_never_silent() -> None:
    """It has no such state."""
    if hasattr(socket, "AF_UNIX"):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            assert not is_silent(ours)
