"""The sockets that one thread watches."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from bgpy.serving.io.poller import READ, WRITE, Poller


@pytest.fixture
def poller() -> Iterator[Poller]:
    """One that watches a socket of its own, too, as a server's does: Windows polls no fewer."""
    made = Poller()
    own, other = socket.socketpair()
    with own, other:
        made.register(own, READ, lambda events: None)
        yield made
        made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Sockets = tuple[socket.socket, socket.socket]


def test_handlers_are_called_with_what_their_socket_is_ready_for(
    poller: Poller, pair: Sockets
) -> None:
    """Reading, writing, both after `modify`, and nothing after `unregister`."""
    ours, theirs = pair
    seen: list[int] = []
    poller.register(ours, READ, seen.append)
    poller.poll(0)
    assert seen == []
    theirs.send(b"x")
    poller.poll(60)
    assert seen == [READ]
    poller.modify(ours, READ | WRITE, seen.append)
    poller.poll(60)
    assert seen == [READ, READ | WRITE]
    poller.unregister(ours)
    poller.unregister(ours)  # harmless if repeated
    poller.poll(0)
    assert len(seen) == 2


def test_end_of_a_peer_is_worth_reading(poller: Poller, pair: Sockets) -> None:
    """A hang-up arrives as readability."""
    ours, theirs = pair
    seen: list[int] = []
    poller.register(ours, READ, seen.append)
    theirs.close()
    poller.poll(60)
    assert seen
    assert seen[0] & READ


def test_failing_handler_keeps_no_other_from_its_turn(poller: Poller, pair: Sockets) -> None:
    """It is logged, and polling continues."""
    seen: list[int] = []

    def fails(events: int) -> None:
        raise ValueError("of the handler")

    one, two = pair
    one.send(b"x")
    two.send(b"x")
    poller.register(one, READ, fails)
    poller.register(two, READ, seen.append)
    poller.poll(60)
    assert len(seen) == 1


def test_handler_is_not_called_when_one_before_it_unregistered_its_socket(
    poller: Poller, pair: Sockets
) -> None:
    """What a poll found may be out of date."""
    one, two = pair
    seen: list[int] = []

    def forget(events: int) -> None:
        seen.append(events)
        poller.unregister(one)
        poller.unregister(two)

    for sock in pair:
        sock.send(b"x")
        poller.register(sock, READ, forget)
    poller.poll(60)
    assert len(seen) == 1


def test_closed_poller_says_so(poller: Poller) -> None:
    """So that a server whose descriptors a task has closed ends instead of spinning."""
    assert not poller.is_closed()
    other = Poller()
    other.close()
    with pytest.raises((OSError, ValueError)):
        other.poll(0)
