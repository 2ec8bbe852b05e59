"""Requests on their way out: whole, in order, and together where nobody waits for them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from bgpy.calling.blocking.outbox import GATHERED, Outbox
from bgpy.calling.blocking.waiting import set_tick
from bgpy.calling.conversation import Call


@pytest.fixture
def ends() -> Iterator[tuple[Outbox, socket.socket]]:
    """An outbox with a small buffer, and the end that it sends to."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    set_tick(ours)
    theirs.settimeout(30.0)
    with ours, theirs:
        yield Outbox(ours), theirs


def test_small_call_leaves_at_once(ends: tuple[Outbox, socket.socket]) -> None:
    """As a whole, and it is noted."""
    outbox, sock = ends
    call = Call()
    outbox.send(call, [b"abc"])
    assert sock.recv(10) == b"abc"
    assert (call.left, outbox.count, outbox.torn) == (True, 0, False)


def test_gathered_calls_leave_in_order_before_the_next_one(
    ends: tuple[Outbox, socket.socket],
) -> None:
    """One system call takes them all."""
    outbox, sock = ends
    calls = [Call() for _ in range(4)]
    for number, call in enumerate(calls[:3]):
        outbox.gather(call, [b"%d" % number])
    outbox.send(calls[3], [b"x"])
    assert sock.recv(10) == b"012x"
    assert all(call.left for call in calls)


def test_large_call_leaves_as_the_socket_takes_it(ends: tuple[Outbox, socket.socket]) -> None:
    """Nothing waits; what is left is pushed on, and is whole in the end."""
    outbox, sock = ends
    call, pieces = Call(), [os.urandom(size) for size in (1, 100_000, 16, 300_000)]
    outbox.send(call, pieces)
    assert (call.begun, call.left) == (True, False)
    received = b""
    while len(received) < sum(map(len, pieces)):
        received += sock.recv(2**16)
        outbox.push()
    assert received == b"".join(pieces)
    assert call.left


def test_call_is_taken_back_when_nothing_of_it_has_left(
    ends: tuple[Outbox, socket.socket],
) -> None:
    """Those before and behind it leave."""
    outbox, sock = ends
    first, second, third = Call(), Call(), Call()
    for call, piece in ((first, b"1"), (second, b"2"), (third, b"3")):
        outbox.gather(call, [piece])
    assert outbox.holds(second)
    outbox.take_back(second)
    assert not outbox.holds(second)
    outbox.push()
    assert sock.recv(10) == b"13"


def test_nothing_leaves_from_an_outbox_that_was_interrupted(
    ends: tuple[Outbox, socket.socket],
) -> None:
    """It would leave twice, perhaps."""
    outbox, sock = ends
    outbox.gather(Call(), [b"once"])
    outbox.torn = True
    outbox.push()
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.recv(1)


def test_outbox_is_full_when_enough_was_gathered(ends: tuple[Outbox, socket.socket]) -> None:
    """And empty again when it is cleared."""
    outbox, _ = ends
    outbox.gather(Call(), [bytes(GATHERED - 1)])
    assert not outbox.is_full
    outbox.gather(Call(), [b"1"])
    assert outbox.is_full
    outbox.clear()
    assert not outbox.is_full


def test_send_raises_os_error_when_the_other_end_is_gone(
    ends: tuple[Outbox, socket.socket],
) -> None:
    """Nothing was taken, so it is not torn."""
    outbox, sock = ends
    sock.close()
    with pytest.raises(OSError, match=r".+"):
        outbox.send(Call(), [b"x"])
    assert not outbox.torn
