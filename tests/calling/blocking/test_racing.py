"""The first address of a name that answers is the one that is used."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from time import monotonic

import pytest

from bgpy import Client, Handle
from bgpy.address import Address
from bgpy.calling.blocking import dialling, racing
from bgpy.calling.blocking.racing import race
from tests.support.swallowing import swallowing
from tests.support.tasks.counting import TASKS, count

LONG = 30.0


def refusing() -> Address:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return Address(*probe.getsockname())


def test_address_that_says_nothing_costs_a_moment(
    start: Callable[..., tuple[Handle, Client]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with a dead address before the live one: the call has an answer in time."""
    handle, client = start()
    client.initialize(*TASKS)
    with swallowing("127.0.0.2", handle.port) as dead:
        live = Address("127.0.0.1", handle.port)
        monkeypatch.setattr(dialling, "resolve", lambda _: [dead, dead, live])
        token = client._find_token()
        assert token is not None
        with Client("box", handle.port, token.token, connect_timeout=LONG) as named:
            begin = monotonic()
            assert named.call({"run": count}) == 0
            assert monotonic() - begin < LONG / 2


def test_all_are_tried_where_time_is_short() -> None:
    """None has the others' share, however many there are."""
    with swallowing("127.0.0.2") as dead, socket.create_server(("127.0.0.1", 0)) as server:
        live = Address(*server.getsockname())
        deadline = monotonic() + racing.STAGGER
        sock, place = race([dead] * 5 + [live], deadline)
        sock.close()
        assert place == live


def test_next_is_tried_at_once_when_one_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it had of its time."""
    monkeypatch.setattr(racing, "STAGGER", LONG)
    with socket.create_server(("127.0.0.1", 0)) as server:
        live = Address(*server.getsockname())
        begin = monotonic()
        sock, place = race([refusing(), refusing(), live], begin + 10 * LONG)
        sock.close()
        assert place == live
        assert monotonic() - begin < LONG


def test_first_that_answers_wins_and_the_others_are_closed() -> None:
    """Also where one of them is still under way, or the last one fails."""
    with swallowing("127.0.0.2") as dead, socket.create_server(("127.0.0.1", 0)) as server:
        live = Address(*server.getsockname())
        before = len(os.listdir("/proc/self/fd"))
        for places in ([dead, live, refusing()], [live, dead], [dead, refusing(), live]):
            sock, place = race(places, monotonic() + LONG)
            assert place == live
            assert sock.getpeername() == live
            assert 0 < (sock.gettimeout() or 0) <= LONG
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            sock.close()
        with pytest.raises(TimeoutError):
            race([dead, dead], monotonic())
        assert len(os.listdir("/proc/self/fd")) == before


def test_silence_tells_more_than_a_refusal() -> None:
    """Nothing is said to run only where each address could say so."""
    unreachable = Address("255.255.255.255", 1)
    with pytest.raises(ConnectionRefusedError):
        race([refusing(), unreachable], monotonic() + LONG)
    with pytest.raises(OSError, match=r".") as caught:
        race([unreachable], monotonic() + LONG)
    assert not isinstance(caught.value, (ConnectionRefusedError, TimeoutError))
    with swallowing("127.0.0.2") as dead, pytest.raises(TimeoutError):
        race([refusing(), dead, refusing()], monotonic() + 0.1)


def test_connection_with_itself_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that nobody listens on, and that the system gave to the client's end."""
    free = refusing()

    def itself(place: Address) -> socket.socket:
        return socket.create_connection(place, source_address=place)

    monkeypatch.setattr(racing, "_begin", itself)
    with pytest.raises(ConnectionRefusedError):
        race([free], monotonic() + LONG)
