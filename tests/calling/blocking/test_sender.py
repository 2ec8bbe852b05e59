"""Requests on their way out: whole, in order, and together where nobody waits for them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic

import pytest

from bgpy.calling.blocking.sender import GATHERED, CutOff, Sender
from bgpy.calling.blocking.waiting import TimeOver, set_tick
from bgpy.calling.liveness import ServerWatch
from bgpy.wire.handshake import Welcome

ELSEWHERE = Welcome(b"i" * 16, bytes(16), 0, 0, (3, 11, 0), "1.0.0")
LONG = 30.0


@pytest.fixture
def ends() -> Iterator[tuple[Sender, socket.socket]]:
    """A sender with a small buffer, and the end that it sends to."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    set_tick(ours)
    theirs.settimeout(LONG)
    with ours, theirs:
        yield Sender(ours, ServerWatch(ELSEWHERE)), theirs


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data))
    return data


def _nothing_came(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return not sock.recv(1)
    except BlockingIOError:
        return True
    finally:
        sock.settimeout(LONG)


def test_gathered_requests_leave_before_the_next_one_that_is_sent(
    ends: tuple[Sender, socket.socket],
) -> None:
    """The order of a client's requests stays."""
    sender, sock = ends
    for number in range(5):
        sender.gather(number, b"%d" % number)
    assert _nothing_came(sock)
    sender.send([b"x"], None)
    assert _read(sock, 6) == b"01234x"


def test_gathering_rings_the_bell_once_until_it_is_answered(
    ends: tuple[Sender, socket.socket],
) -> None:
    """Whoever waits at the bell sends what was gathered."""
    sender, sock = ends
    sender.gather(1, b"a")
    sender.gather(2, b"b")
    assert sender.bell.wait(LONG)
    assert not sender.bell.wait(0)
    sender.flush(None)
    assert _read(sock, 2) == b"ab"
    sender.gather(3, b"c")
    assert sender.bell.wait(LONG)


def test_gathered_requests_leave_when_they_are_enough(
    ends: tuple[Sender, socket.socket],
) -> None:
    """Nobody has to answer the bell for that."""
    sender, sock = ends
    piece = os.urandom(1000)
    count = GATHERED // 1000 + 1
    thread = threading.Thread(target=lambda: [sender.gather(n, piece) for n in range(count)])
    thread.start()
    assert _read(sock, count * 1000) == piece * count
    thread.join()


def test_forget_tells_which_requests_never_left(ends: tuple[Sender, socket.socket]) -> None:
    """What has left is not among them."""
    sender, sock = ends
    sender.gather(1, b"a")
    sender.flush(None)
    sender.gather(2, b"b")
    sender.gather(3, b"c")
    assert sender.forget() == [2, 3]
    sender.flush(None)
    assert _read(sock, 1) == b"a"
    assert _nothing_came(sock)


def test_send_is_whole_when_the_socket_takes_little(ends: tuple[Sender, socket.socket]) -> None:
    """Pieces of any size arrive one after the other."""
    sender, sock = ends
    pieces = [os.urandom(size) for size in (1, 100_000, 16, 300_000)]
    thread = threading.Thread(target=sender.send, args=(pieces, None))
    thread.start()
    assert _read(sock, sum(map(len, pieces))) == b"".join(pieces)
    thread.join()


def test_send_is_cut_off_when_the_time_is_over_in_the_middle(
    ends: tuple[Sender, socket.socket],
) -> None:
    """A part has left, so that nothing can follow it."""
    sender, _ = ends
    with pytest.raises(CutOff):
        sender.send([bytes(2**22)], monotonic() + 0.05)


def test_send_raises_time_over_when_another_thread_has_the_turn(
    ends: tuple[Sender, socket.socket],
) -> None:
    """Nothing has left: the connection stays of use."""
    sender, sock = ends
    thread = threading.Thread(target=sender.send, args=([bytes(2**20)], None))
    thread.start()
    assert sock.recv(1) == b"\0"  # the other one is at it
    with pytest.raises(TimeOver) as caught:
        sender.send([b"x"], monotonic() + 0.01)
    assert not isinstance(caught.value, CutOff)
    assert _read(sock, 2**20 - 1) == bytes(2**20 - 1)
    thread.join()
    sender.send([b"y"], monotonic() + LONG)
    assert _read(sock, 1) == b"y"


def test_send_raises_os_error_when_the_other_end_is_gone(
    ends: tuple[Sender, socket.socket],
) -> None:
    """As does what was gathered."""
    sender, sock = ends
    sock.close()
    sender.gather(1, b"a")
    with pytest.raises(OSError, match=r".+"):
        sender.flush(None)
    with pytest.raises(OSError, match=r".+"):
        sender.send([b"x"], None)


def test_gathered_requests_stay_when_the_next_one_runs_out_of_time(
    ends: tuple[Sender, socket.socket],
) -> None:
    """Whose time is over takes only its own request away."""
    sender, sock = ends
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sender._sock.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            sender._sock.send(bytes(2**16))
    set_tick(sender._sock)
    sender.gather(1, b"kept")
    with pytest.raises(TimeOver) as caught:
        sender.send([b"late"], monotonic() + 0.05)
    assert not isinstance(caught.value, CutOff)
    thread = threading.Thread(target=sender.flush, args=(None,))
    thread.start()
    data = b""
    while not data.endswith(b"kept"):
        data = data[-4:] + sock.recv(2**16)
    thread.join()


def test_gathered_request_waits_when_another_one_has_left_in_part(
    ends: tuple[Sender, socket.socket],
) -> None:
    """What another thread gathers meanwhile doesn't land in the middle of a request."""
    sender, sock = ends
    takes_all = sender._sock

    class TakesHalf:
        def send(self, data: bytes) -> int:
            sender._sock = takes_all
            sender.gather(7, b"gathered")
            return takes_all.send(data[: len(data) // 2])

    sender._sock = TakesHalf()  # type: ignore[assignment]
    sender.send([b"a whole request"], None)
    sender.flush(None)
    assert _read(sock, 23) == b"a whole requestgathered"


def test_nothing_leaves_when_an_earlier_request_has_left_in_part(
    ends: tuple[Sender, socket.socket],
) -> None:
    """Another thread's request would be taken for the rest of it."""
    sender, sock = ends
    with pytest.raises(CutOff):
        sender.send([bytes(2**22)], monotonic() + 0.05)
    seen = []

    def read_to_end() -> None:
        while data := sock.recv(2**16):
            seen.append(data)

    thread = threading.Thread(target=read_to_end)
    thread.start()
    with pytest.raises(BrokenPipeError):
        sender.send([b"x"], None)
    thread.join()
    assert b"x" not in b"".join(seen)


def test_send_raises_os_error_when_who_has_the_turn_was_interrupted_and_the_connection_has_ended(
    ends: tuple[Sender, socket.socket],
) -> None:
    """A turn that nobody lets go of keeps no other thread."""
    sender, _ = ends
    sender._turn.acquire()
    sender.forget()
    with pytest.raises(OSError, match="ended"):
        sender.send([b"x"], None)
