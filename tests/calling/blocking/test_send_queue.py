"""Requests on their way out: whole, in order, and together where nobody waits for them."""

from __future__ import annotations

import os
import random
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, FunctionType
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bgpy.calling.blocking import send_queue
from bgpy.calling.blocking.send_queue import GATHERED, OVERFULL, SendQueue
from bgpy.calling.blocking.waiting import set_tick
from bgpy.calling.conversation import Call
from tests.support.strikes import is_out_of_reach


@pytest.fixture
def ends() -> Iterator[tuple[SendQueue, socket.socket]]:
    """A queue with a small buffer, and the end that it sends to."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    set_tick(ours)
    theirs.settimeout(30.0)
    with ours, theirs:
        yield SendQueue(ours), theirs


def test_small_call_leaves_at_once(ends: tuple[SendQueue, socket.socket]) -> None:
    """As a whole, and it is noted."""
    queue, sock = ends
    call = Call()
    queue.send(call, [b"abc"])
    assert sock.recv(10) == b"abc"
    assert (call.left, len(queue.waiting), queue.torn) == (True, 0, False)


def test_gathered_calls_leave_in_order_before_the_next_one(
    ends: tuple[SendQueue, socket.socket],
) -> None:
    """One system call takes them all."""
    queue, sock = ends
    calls = [Call() for _ in range(4)]
    for number, call in enumerate(calls[:3]):
        queue.gather(call, [b"%d" % number])
    queue.send(calls[3], [b"x"])
    assert sock.recv(10) == b"012x"
    assert all(call.left for call in calls)


def test_large_call_leaves_as_the_socket_takes_it(ends: tuple[SendQueue, socket.socket]) -> None:
    """Nothing waits; what is left is pushed on, and is whole in the end."""
    queue, sock = ends
    call, pieces = Call(), [os.urandom(size) for size in (1, 100_000, 16, 300_000)]
    queue.send(call, list(pieces))
    assert (call.begun, call.left) == (True, False)
    received = b""
    while len(received) < sum(map(len, pieces)):
        received += sock.recv(2**16)
        queue.push()
    assert received == b"".join(pieces)
    assert call.left


def test_call_is_taken_back_when_nothing_of_it_has_left(
    ends: tuple[SendQueue, socket.socket],
) -> None:
    """Those before and behind it leave."""
    queue, sock = ends
    first, second, third = Call(), Call(), Call()
    for call, piece in ((first, b"1"), (second, b"2"), (third, b"3")):
        queue.gather(call, [piece])
    assert queue.holds(second)
    queue.take_back(second)
    assert not queue.holds(second)
    queue.push()
    assert sock.recv(10) == b"13"


def test_nothing_leaves_from_a_queue_that_was_interrupted(
    ends: tuple[SendQueue, socket.socket],
) -> None:
    """It would leave twice, perhaps."""
    queue, sock = ends
    queue.gather(Call(), [b"once"])
    queue.torn = True
    queue.push()
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.recv(1)


def test_gathered_calls_leave_when_they_are_enough_or_alone(
    ends: tuple[SendQueue, socket.socket],
) -> None:
    """And not while others are expected, or when all was cleared."""
    queue, _ = ends
    queue.gather(Call(), [bytes(GATHERED - 1)])
    assert not queue.is_due(1000)
    queue.gather(Call(), [b"1"])
    assert queue.is_due(1000)
    queue.clear()
    assert not queue.is_due(1000)
    queue.gather(Call(), [b"1"])
    assert queue.is_due(1)
    assert not queue.is_due(2)


def test_send_raises_os_error_when_the_other_end_is_gone(
    ends: tuple[SendQueue, socket.socket],
) -> None:
    """Nothing was taken, so it is not torn."""
    queue, sock = ends
    sock.close()
    with pytest.raises(OSError, match=r".+"):
        queue.send(Call(), [b"x"])
    assert not queue.torn


def test_call_that_is_taken_back_leaves_its_room(ends: tuple[SendQueue, socket.socket]) -> None:
    """And those before and behind it where they were."""
    queue, sock = ends
    first, back, last = Call(), Call(), Call()
    queue.gather(first, [b"first"])
    queue.gather(back, [bytes(OVERFULL)])
    queue.gather(last, [b"last"])
    assert queue.is_overfull
    queue.take_back(back)
    assert not queue.is_due(1000)
    assert not queue.holds(back)
    queue.push()
    assert sock.recv(100) == b"firstlast"
    assert not queue.is_due(1000)


@pytest.mark.parametrize("pieces", [1, 3])
def test_gathering_that_is_struck_leaves_no_room_taken_for_ever(
    ends: tuple[SendQueue, socket.socket], pieces: int
) -> None:
    """At whichever instruction: the queue is whole, and empty it has all its room."""
    queue, sock = ends
    sock.settimeout(0.0)
    gather = queue.gather_one if pieces == 1 else queue.gather
    large = bytes(OVERFULL)
    for at in range(60):
        call = Call()
        data = large if pieces == 1 else [large] * pieces
        with suppress(KeyboardInterrupt), struck_at(at, SendQueue):
            gather(call, data)  # type: ignore[operator]
        assert len(queue.waiting) in (0, pieces)
        while queue.waiting:
            queue.push()
            with suppress(BlockingIOError):
                sock.recv(2**20)
        assert not queue.is_overfull
        assert not queue.is_due(1)


@contextmanager
def struck_at(count: int, where: type, strike: BaseException | None = None) -> Iterator[None]:
    """Raise `strike` at that instruction of the methods of a class; else `KeyboardInterrupt`."""
    codes = {each.__code__ for each in vars(where).values() if isinstance(each, FunctionType)}
    left = count

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code not in codes:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and not is_out_of_reach(frame):
            left -= 1
            if left == 0:
                raise strike or KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


# Against a plain model

LIMITS = {"MOST_PIECES": 3, "GATHERED": 8, "OVERFULL": 24}
"""Small ones, so that few calls reach all of them."""
TOGETHER = 2 * LIMITS["GATHERED"]


class Taking(socket.socket):
    """A socket that takes as many bytes of each send as `takes` says, and then none.

    A negative number stands for the end of the connection.
    """

    queue: SendQueue
    flag = 0 if sys.platform == "win32" else socket.MSG_DONTWAIT
    asked: bool | None = None
    """Whether there was room, when that was asked last; None where that need not be asked."""

    def __init__(self) -> None:
        super().__init__()
        self.takes: list[int] = []
        self.sent = bytearray()
        self.is_full = True

    def send(self, data: Any, flags: int = 0) -> int:
        first = self.queue.waiting[0][1] if self.queue.waiting else data
        assert len(data) <= max(TOGETHER, len(first)), "large ones aren't copied"
        return self._take([data], flags)

    def sendmsg(self, pieces: Any, _: Any = (), flags: int = 0) -> int:  # type: ignore[override]
        assert sum(map(len, pieces)) > TOGETHER, "small ones leave as one"
        return self._take(pieces, flags)

    def _take(self, pieces: list[Any], flags: int) -> int:
        assert self.queue.torn, "who is struck while bytes leave leaves word of it"
        assert flags == self.flag, "it would wait, with the client's lock held"
        assert self.asked is not False
        assert len(pieces) <= LIMITS["MOST_PIECES"]
        assert sum(map(len, pieces[:-1])) < TOGETHER, "no more than what may leave together"
        data = b"".join(pieces)
        taken = min(self.takes.pop(0) if self.takes else 0, len(data))
        self.is_full = taken < len(data)
        if taken < 0:
            raise ConnectionResetError
        if not taken:
            raise BlockingIOError if len(data) % 2 else TimeoutError
        self.sent += data[:taken]
        return taken


class Wrapped:
    """What TLS goes over: it knows no flag, so it is asked first, where that need not be whole."""

    def __init__(self, inner: Taking) -> None:
        self.send, self.sendmsg = inner.send, inner.sendmsg
        inner.flag = 0


class Step(NamedTuple):
    """One call of a queue's method, with what the socket takes meanwhile."""

    name: str
    sizes: list[int]
    takes: list[int]
    which: int
    """Of the calls so far, the one that is taken back."""
    strike: tuple[int, type[BaseException]] | None
    """At which instruction, and the exception."""


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(["send", "send", "gather", "gather_one", "push", "take_back", "clear"]),
        st.lists(st.sampled_from([1, 2, 5, 20]), min_size=1, max_size=6),
        st.lists(st.sampled_from([1, 3, 7, 100, 0, -1]), max_size=4),
        st.integers(0, 10),
        st.none()
        | st.tuples(st.integers(1, 150), st.sampled_from([KeyboardInterrupt, TimeoutError])),
    ),
    max_size=12,
)


class Walk:
    """A queue, and beside it what waits as a plain list of calls and bytes."""

    def __init__(self, plain: bool) -> None:
        self.sock = Taking()
        self.queue = SendQueue(self.sock if plain else cast(Any, Wrapped(self.sock)))
        self.sock.queue = self.queue
        self.plain = plain
        self.calls: list[tuple[Call, bytes]] = []
        self.waiting: list[tuple[Call, int]] = []
        """Each byte, and whose it is."""
        self.left: list[tuple[Call, int]] = []
        """The same of what has left."""
        self.counted = True

    def ask(self, *_: object) -> bool:
        """In the place of `poll`."""
        self.sock.asked = bool(self.sock.takes and self.sock.takes[0])
        if not self.sock.asked:
            self.sock.is_full = True
            self.sock.takes[:1] = []
        return self.sock.asked

    def do(self, step: Step) -> bool:
        """Do it in both; whether more may be done."""
        sock, queue = self.sock, self.queue
        sock.takes, sock.asked, sent = step.takes.copy(), None, len(sock.sent)
        added: list[tuple[Call, int]] = []
        args: list[Any] = []
        direct = False
        if step.name in ("send", "gather", "gather_one"):
            call = Call()
            sizes = step.sizes if step.name != "gather_one" else step.sizes[:1]
            pieces = [random.randbytes(size) for size in sizes]
            args = [call, pieces[0] if step.name == "gather_one" else pieces]
            added = [(call, byte) for piece in pieces for byte in piece]
            self.calls.append((call, b"".join(pieces)))
            direct = step.name == "send" and len(pieces) == 1 and not self.waiting
        elif step.name == "take_back":
            fresh = [call for call, _ in self.calls if not (call.begun or call.left)]
            if not fresh:
                return True
            args = [fresh[step.which % len(fresh)]]
        if not self.plain and not direct:
            sock.asked = False
        raised = self._call(getattr(queue, step.name), args, step.strike)
        taken = len(sock.sent) - sent
        if queue.torn:
            assert raised == "struck"
            self._check_torn()
            return False
        if raised == "struck":
            self.counted = False  # until it is empty once
        before = self.waiting + added
        rest = before[taken:]
        if step.name == "take_back":
            without = [each for each in rest if each[0] is not args[0]]
            rest = rest if raised and self._is(rest) else without
        elif step.name == "clear":
            rest = rest if raised and self._is(rest) else []
        elif raised and not taken and (raised == "struck" or direct):
            rest = rest if self._is(rest) else self.waiting
        assert bytes(byte for _, byte in before[:taken]) == sock.sent[sent:]
        self.left += before[:taken]
        self.waiting = rest
        self._check(step, raised, 0 if direct else taken)
        return True

    def _call(self, method: Any, args: list[Any], strike: Any) -> str:
        try:
            if strike is None:
                method(*args)
            else:
                at, kind = strike
                with struck_at(at, SendQueue, kind(STRUCK)):
                    method(*args)
        except (KeyboardInterrupt, OSError) as error:
            return "struck" if error.args == (STRUCK,) else "lost"
        return ""

    def _is(self, rest: list[tuple[Call, int]]) -> bool:
        return b"".join(piece for _, piece, _ in self.queue.waiting) == bytes(b for _, b in rest)

    def _check(self, step: Step, raised: str, noted: int) -> None:
        """Where bytes were noted as taken: of what leaves at once none are."""
        queue, waiting = self.queue, self.waiting
        assert self._is(waiting)
        if step.name in ("send", "push") and not raised:
            assert not waiting or self.sock.is_full
        for call, data in self.calls:
            left = sum(each is call for each, _ in self.left)
            assert (call.begun or call.left, call.left) == (left > 0, left == len(data))
            assert queue.holds(call) == any(each is call for each, _ in waiting)
        if not waiting and not raised and (noted or step.name == "clear"):
            self.counted = True
        count, size = len(queue.waiting), len(waiting)
        if self.counted:
            assert queue.is_overfull == (size >= LIMITS["OVERFULL"])
            enough = size >= LIMITS["GATHERED"]
            assert [queue.is_due(n) for n in (count, count + 1)] == [True, enough]

    def _check_torn(self) -> None:
        """Nothing leaves any more, and none is said to have left that hasn't."""
        sent = bytes(self.sock.sent)
        self.sock.takes = [100]
        self.queue.push()
        assert self.sock.sent == sent
        for call, data in self.calls:
            assert not call.left or data in sent


STRUCK = "a handler's"


def walk(steps: list[Step], plain: bool) -> None:
    """Do them all, or those before one that leaves the queue torn."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in LIMITS.items():
            patch.setattr(send_queue, name, value)
        both = Walk(plain)
        patch.setattr(send_queue, "poll", both.ask)
        with both.sock:
            for step in steps:
                if not both.do(step):
                    break


@example(
    [
        Step("gather", [5, 5], [], 0, None),
        Step("clear", [1], [], 0, (6, KeyboardInterrupt)),
        Step("send", [1], [1], 0, None),
    ],
    True,
)
@given(STEPS, st.booleans())
def test_queue_is_what_a_plain_list_would_be_whatever_the_socket_takes(
    steps: list[Step], plain: bool
) -> None:
    """Struck anywhere too: what left, what waits, what is known of each call, and the size."""
    walk(steps, plain)


@pytest.mark.parametrize("name", ["send", "gather", "gather_one", "push", "take_back"])
@pytest.mark.parametrize("strike", [KeyboardInterrupt, TimeoutError])
def test_queue_that_is_struck_once_at_each_instruction_goes_on_or_is_torn(
    name: str, strike: type[BaseException]
) -> None:
    """The same, for each of them: the exception is raised, and all is counted once it is empty."""
    before = [Step("gather", [5, 20], [], 0, None)] if name != "send" else []
    after = [Step("push", [1], [100] * 9, 0, None), Step("gather", [7], [], 0, None)]
    sizes = [5] if name == "send" else [5, 20]
    for at in range(1, 150):
        struck = Step(name, sizes, [3], 0, (at, strike))
        walk([*before, struck, *after], plain=True)
