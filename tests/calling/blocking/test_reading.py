"""What comes over a connection, and its end."""

from __future__ import annotations

import gc
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import pytest

from bgpy.calling.blocking import helper, threads
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.shared import NoReader
from bgpy.calling.conversation import Call
from bgpy.calling.timeouts import timed_out
from bgpy.errors import ServerGone
from bgpy.system.latch import Latch
from bgpy.wire.messages import Failure, Goodbye, Pong, Reason, Reply
from tests.support.channels import PLACE, Far, bare_future, far_end

Ends = tuple[Channel, Far]

LONG = 30.0


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A channel, and its other end."""
    with far_end() as both:
        yield both


def expected(channel: Channel, number: int, left: bool = True) -> Call:
    """A call that is under way; its thread sleeps."""
    call = Call()
    call.waker = Latch()
    channel.conversation.begin(call, number)
    call.begun = call.left = left
    return call


def test_look_hands_out_what_came(ends: Ends) -> None:
    """Messages in one piece, of whatever size, and those that nobody expects."""
    channel, far = ends
    small, large = expected(channel, 1), expected(channel, 2)
    far.say(Pong(9))
    far.say(Reply(1, b"small"))
    far.say(Reply(2, b"l" * 100_000))
    while large.answer is None:
        channel.reader.look()
    assert small.waker.wait(0)
    assert large.waker.wait(0)
    assert isinstance(large.answer, Reply)
    assert len(large.answer.head) == 100_000
    assert channel.usable()


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (b"", "the server closed the connection without giving a reason"),
        (struct.pack("<BBHIQ", 250, 0, 0, 0, 0), "the server broke the protocol"),
    ],
)
def test_connection_that_has_ended_is_found_before_it_is_used(
    ends: Ends, says: bytes, reason: str
) -> None:
    """Every call on it ends, in what is known of it, and nobody sleeps on."""
    channel, far = ends
    calls = {"unknown": expected(channel, 1), "not started": expected(channel, 2, left=False)}
    far.sock.sendall(says)
    far.sock.close()
    channel.link.last_used = 0.0
    assert not channel.usable()
    for progress, call in calls.items():
        assert isinstance(call.answer, ServerGone)
        assert reason in str(call.answer)
        assert call.answer.progress == progress
        assert call.waker.wait(0)
    assert not channel.conversation.pending


def test_what_the_server_says_before_it_closes_is_the_reason(ends: Ends) -> None:
    """The first reason stays, whatever ends it again."""
    channel, far = ends
    far.say(Goodbye("it is late"))
    far.sock.close()
    channel.reader.look()
    channel.close("once more")
    assert channel.conversation.ended == "the server closed the connection: it is late"


def test_read_that_was_struck_is_found_by_the_next_one(ends: Ends) -> None:
    """What had been received is lost, so the connection is of no use."""
    channel, _ = ends
    channel.reader.torn = True
    channel.reader.look()
    assert channel.conversation.ended is not None
    assert "interrupted while reading" in channel.conversation.ended


def test_standby_reads_until_nothing_is_under_way(ends: Ends) -> None:
    """And leaves the connection to whoever calls next."""
    channel, far = ends
    call = expected(channel, 1)
    with channel._lock:
        channel.reader.ask_standby()
    far.say(Reply(1, b"value"))
    assert call.waker.wait(30.0)
    assert call.answer == Reply(1, b"value")
    gc.collect()
    assert channel.usable()


def test_small_responses_that_come_together_reach_their_futures(ends: Ends) -> None:
    """Whatever lies between them, and wherever the bytes are cut."""
    channel, far = ends
    futures = [bare_future() for _ in range(6)]
    for number, future in enumerate(futures, 1):
        channel.conversation.begin(future, number)
        future.begun = future.left = True
    futures[1].answer = taken = timed_out(1.0, "unknown", PLACE)
    frames = [far.bytes_of(Reply(number, b"v%d" % number)) for number in range(1, 7)]
    frames[3] = far.bytes_of(Reply(4, b"l" * 10_000))
    frames.insert(2, far.bytes_of(Reply(99, b"nobody's"), Pong(98), Failure(97, Reason.TASK)))
    data = b"".join(frames)
    for cut in (10, 25, len(frames[0]), len(frames[0]) + 3, len(data) - 1, len(data)):
        far.sock.sendall(data[:cut])
        channel.reader.look()
        data = data[cut:] if cut < len(data) else b""
        if not data:
            break
    far.sock.sendall(data)
    while channel.conversation.pending:
        channel.reader.look()
    heads = [bytes(getattr(each.result(30), "head", each.answer)) for each in futures[2:]]
    assert heads[1] == b"l" * 10_000
    assert futures[1].answer is taken


@pytest.mark.parametrize("other", ["leaves", "reads the answer", "reads on"])
def test_call_that_was_sent_waits_also_where_no_thread_can_stand_by(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """Its client would send it once more, and it would run twice."""
    channel, far = ends
    reader, call, turn, looked = channel.reader, Call(), threading.Lock(), threading.Event()
    channel.conversation.begin(call, 1)
    call.begun = call.left = True
    reads = reader.reads

    def looks(call: Call) -> bool:
        try:
            return reads(call)
        except NoReader:
            looked.set()
            raise

    monkeypatch.setattr(threads, "start", lambda *_: False)
    monkeypatch.setattr(reader, "reads", looks)
    with turn, ThreadPoolExecutor(1) as pool:
        reader.turns.reader = turn
        deadline = monotonic() + (0.01 if other == "reads on" else LONG)
        waiting = pool.submit(reader.wait, call, True, deadline)
        assert looked.wait(LONG)
        far.say(Reply(1, b"value"))
        if other == "leaves":
            reader.turns.leave()
        elif other == "reads the answer":
            reader._read()
        waiting.result(LONG)
    assert (call.answer is None) == (other == "reads on")


def test_standby_that_fails_also_to_end_the_connection_ends_it_later(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else reads while it has been asked to."""
    channel, far = ends
    link, future, out = channel.link, bare_future(), [2]
    came, end = channel.reader._came, link.end

    def failing(step: int, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: object) -> Any:
            if out[0] == step:
                out[0] -= 1
                raise MemoryError
            return real(*args)

        return call

    monkeypatch.setattr(helper, "AGAIN", 0.01)
    monkeypatch.setattr(channel.reader, "_came", failing(2, came))
    monkeypatch.setattr(link, "end", failing(1, end))
    with channel._lock:
        channel.admit(future, (b"args", (), False))
        channel.push_admitted()
    far.say(Reply(far.read().request, b"value"))
    assert isinstance(future.result(LONG), ServerGone)
    assert out == [0]
