"""A server whose descriptors run out, and one that has seen many come and go."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from bgpy import Client
from tests.support.peers import HELLO, connect, reset, wait_until
from tests.support.served import Served

pytest.importorskip("resource", reason="descriptors are limited by the POSIX module resource")


@contextmanager
def crowd(served: Served) -> Iterator[list[socket.socket]]:
    """Take all descriptors that the server has left, and more."""
    served.client.call({"leave_descriptors": 6})
    with ExitStack() as stack:
        socks = [stack.enter_context(connect(served.port)) for _ in range(40)]
        wait_until(lambda: "can't accept clients" in served.log(), "the server has run out")
        yield socks


def test_server_does_not_spin_when_its_descriptors_run_out(serve: Callable[..., Served]) -> None:
    """While nobody can be accepted, the server sleeps and serves the clients that it has."""
    served = serve(handshake_timeout=60.0)
    with crowd(served) as socks:
        before = sum(served.process.cpu_times()[:2])
        socks[-1].settimeout(0.5)
        with pytest.raises(TimeoutError):
            socks[-1].recv(1)
        assert served.client.call({"add": 1}) == 1
        assert sum(served.process.cpu_times()[:2]) - before < 0.2
    assert served.log().count("can't accept clients") < 10
    served.client.close()
    served.check()


def test_server_accepts_again_when_a_client_leaves(serve: Callable[..., Served]) -> None:
    """Whoever waits in the backlog is served as soon as there is a descriptor."""
    served = serve(handshake_timeout=60.0)
    with crowd(served) as socks, Client("127.0.0.1", served.port, served.token) as late:
        for sock in socks:
            sock.close()
        assert late.ping() >= 0
    served.check()


def test_server_accepts_again_when_its_strangers_time_is_over(
    serve: Callable[..., Served],
) -> None:
    """Silent peers hold the descriptors for the handshake's time and no longer."""
    served = serve(handshake_timeout=0.5)
    with crowd(served):
        served.check()


@pytest.mark.parametrize("rounds", [1, 5])
def test_descriptors_are_given_back_when_connections_close(alone: Served, rounds: int) -> None:
    """200 connections a round, ended in every way, leave what was there before."""
    before = alone.process.num_fds()
    for _ in range(rounds * 20):
        for sent in (b"", b"GET /", HELLO[:20], HELLO):
            for end in (socket.socket.close, reset):
                sock = alone.stranger()
                sock.sendall(sent)
                end(sock)
        for end in (socket.socket.close, reset):
            client = alone.raw()
            client.send(struct.pack("<BBHIQ", 2, 0x11, 0, 100, 1))
            end(client.sock)
    wait_until(lambda: alone.process.num_fds() <= before, "all descriptors are given back")
    assert alone.process.num_threads() <= 2


def test_server_drops_the_oldest_when_too_many_have_not_proved_the_token(
    serve: Callable[..., Served],
) -> None:
    """Strangers that only connect cost a bounded number of connections, clients none."""
    served = serve(max_half_open=3, handshake_timeout=300.0)
    with ExitStack() as stack:
        socks = [stack.enter_context(connect(served.port)) for _ in range(5)]
        for sock in socks[:2]:
            assert sock.recv(1) == b""
        served.check()
        socks[4].sendall(HELLO)
        assert socks[4].recv(1)
    wait_until(lambda: "max_half_open" in served.log(), "the log says why")


def test_server_drops_a_stranger_when_a_client_would_find_no_room(
    serve: Callable[..., Served],
) -> None:
    """Whoever can prove the token comes before whoever only connects."""
    served = serve(max_connections=3, handshake_timeout=300.0)
    assert served.client.ping() >= 0
    with connect(served.port) as first, connect(served.port) as second:
        with Client("127.0.0.1", served.port, served.token) as client:
            assert client.ping() >= 0
            assert first.recv(1) == b""
        second.sendall(HELLO)
        assert second.recv(1)
