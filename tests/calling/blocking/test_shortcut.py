"""The short roads of a connection, with its other end in the test's hands."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from time import monotonic
from types import FrameType
from typing import Any

import pytest

from bgpy.calling.blocking import reading, shortcut
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.futures import CallFuture
from bgpy.calling.blocking.send_queue import GATHERED
from bgpy.calling.blocking.shared import Unusable
from bgpy.calling.blocking.shortcut import LONG, Shortcut
from bgpy.calling.conversation import Answer
from bgpy.config import ENV_ROAD
from bgpy.errors import CallTimeout, ServerGone
from bgpy.tasks.current import serving
from bgpy.wire.messages import Cancel, Execute, Failure, Goodbye, Reason, Reply
from bgpy.wire.small import SMALL_CALL
from tests.support.channels import Far, bare_future, far_end
from tests.support.peers import wait_until
from tests.support.strikes import Struck, strike

Ends = tuple[Channel, Far]

LARGE = b"x" * SMALL_CALL


@pytest.fixture(autouse=True)
def _open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The roads are open, also where all else is tried without them."""
    monkeypatch.delenv(ENV_ROAD, raising=False)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads that call."""
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.fixture
def ends(pool: ThreadPoolExecutor) -> Iterator[Ends]:
    """A channel, and its other end; closed before the threads are waited for."""
    with far_end() as both:
        yield both


def used(channel: Channel, since: float = 0.0) -> None:
    """Have it used `since` seconds ago; or now, however long this thread is kept from its turn."""
    channel.link.last_used = monotonic() - since if since else monotonic() + 30.0


def call_lone(
    channel: Channel, head: bytes = b"args", timeout: float | None = None
) -> Answer | None:
    """As a client's thread calls where nothing else is under way, and soon after another."""
    used(channel)
    return channel.shortcut.call(head, timeout)


@pytest.mark.parametrize("because", ["in a task", "others come first"])
def test_leaves_alone_what_it_does_not_know_how_to_do(ends: Ends, because: str) -> None:
    """A call in a task tells whom it is made for; what was submitted before goes first."""
    channel, _ = ends
    posted = channel.link.shared.posted
    with serving(b"another server") if because == "in a task" else nullcontext():
        if because != "in a task":
            posted.append(None)
        assert call_lone(channel) is None
        assert channel.shortcut.submit(bare_future(), b"args") is None
    posted.clear()
    assert not channel.conversation.pending


def test_gives_the_pickle_of_the_response(ends: Ends, pool: ThreadPoolExecutor) -> None:
    """And the whole answer where that is anything else, or comes in parts."""
    channel, far = ends
    for answer, given in [
        (lambda number: [Reply(number, b"value")], b"value"),
        (lambda number: [Reply(number, b"value", error=True)], Reply),
        (lambda number: [Reply(number, bytes(100_000), code=True)], Reply),
        (lambda number: [Failure(number, Reason.NO_RESPONSE)], Failure),
        (lambda number: [Reply(number + 7, b"another's"), Reply(number, b"value")], Reply),
    ]:
        calling = pool.submit(call_lone, channel)
        request = far.read()
        assert request == Execute(request.request, b"args", wait=True)
        far.say(*answer(request.request))
        got = calling.result()
        assert got == given if isinstance(given, bytes) else isinstance(got, given)
        assert channel.conversation.is_quiet
        assert channel.reader.turns.reader is None


def test_gives_the_response_that_came_before_another_thread_ended_the_connection(
    ends: Ends, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has come is no error, however the connection ended."""
    channel, far = ends
    unpack_start = reading.unpack_start

    def ended(*args: Any) -> Any:
        pool.submit(channel.link.end, "another thread ends it").result()
        return unpack_start(*args)

    monkeypatch.setattr(reading, "unpack_start", ended)
    calling = pool.submit(call_lone, channel)
    far.say(Reply(far.read().request, b"value"))
    assert calling.result() == b"value"


@pytest.mark.parametrize("size", [0, 1, 15, 16, 20])
def test_gives_the_response_that_comes_in_two_parts(
    ends: Ends, pool: ThreadPoolExecutor, size: int
) -> None:
    """And the call behind it, which finds the part of another response, too."""
    channel, far = ends
    calling = pool.submit(call_lone, channel)
    data = far.bytes_of(Reply(far.read().request, b"value"))
    far.sock.sendall(data[:size])
    if size:
        wait_until(lambda: not channel.reader._frames.idle, "a part has come")
    far.sock.sendall(data[size:])
    assert _value(calling.result()) == b"value"
    late = far.bytes_of(Reply(99, b"of nobody"))
    calling = pool.submit(call_lone, channel)
    far.sock.sendall(late + late[:size])
    number = far.read().request
    far.sock.sendall(late[size:] + far.bytes_of(Reply(number, b"next")))
    assert _value(calling.result()) == b"next"


def _value(answer: Answer | None) -> bytes:
    value = answer.head if isinstance(answer, Reply) else answer
    assert isinstance(value, (bytes, bytearray))
    return bytes(value)


def test_sends_what_the_socket_does_not_take_at_once(ends: Ends, pool: ThreadPoolExecutor) -> None:
    """It waits for room as any call does."""
    channel, far = ends
    with channel._lock:
        channel._sends.flags = 0
    real, taken = channel.shortcut._send, []

    def send_a_part(data: Any, *flags: int) -> int:
        taken.append(real(data[: 1000 if not taken else None], *flags))
        return taken[0]

    channel.shortcut._send = send_a_part
    calling = pool.submit(call_lone, channel, LARGE)
    request = far.read()
    assert isinstance(request, Execute)
    assert bytes(request.head) == LARGE
    far.say(Reply(request.request, b"value"))
    assert _value(calling.result()) == b"value"


@pytest.mark.parametrize("seconds", [None, LONG])
def test_takes_calls_whose_time_is_long(
    ends: Ends, pool: ThreadPoolExecutor, seconds: float | None
) -> None:
    """Receiving gives up in time; a short time has to be kept from the start."""
    channel, far = ends
    assert call_lone(channel, b"args", LONG * 0.99) is None
    calling = pool.submit(call_lone, channel, b"args", seconds)
    far.say(Reply(far.read().request, b"value"))
    assert calling.result() == b"value"


def test_asks_for_a_call_whose_time_is_over(
    ends: Ends, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the general road does, in the words of that time."""
    channel, far = ends
    monkeypatch.setattr(shortcut, "LONG", 0.0)
    calling = pool.submit(call_lone, channel, b"args", 0.1)
    request, cancel = far.read(), far.read()
    assert isinstance(cancel, Cancel)
    assert cancel.target == request.request
    answer = calling.result()
    assert isinstance(answer, CallTimeout)
    assert "0.1" in str(answer)


def test_is_left_where_another_reads(ends: Ends, pool: ThreadPoolExecutor) -> None:
    """A caller, or the standby."""
    channel, far = ends
    calling = pool.submit(channel.call, (b"args", (), False), b"", None, None)
    first = far.read()
    assert call_lone(channel) is None
    second = pool.submit(channel.call, (b"args", (), False), b"", None, None)
    following = far.read()
    assert call_lone(channel) is None
    far.say(Reply(first.request, b""), Reply(following.request, b""))
    assert isinstance(calling.result(), Reply)
    assert isinstance(second.result(), Reply)


@pytest.mark.parametrize(
    "unusual",
    ["too large", "asked", "turn", "waiting", "leaving", "ended", "torn", "inside", "reading"],
)
def test_is_left_where_anything_is_unusual(ends: Ends, unusual: str) -> None:
    """Nothing was done."""
    channel, _ = ends
    here, head, held = channel.link.shared.here, b"args", threading.Lock()
    with channel._lock:
        match unusual:
            case "too large":
                head = LARGE + b"x"
            case "asked":
                channel._turns.note_asked()
            case "turn":  # left from a call that was struck down
                channel._turns.reader = here.turn
            case "waiting":
                channel._sends.gather_one(bare_future(), b"waits")
            case "leaving":
                channel.link.closing = "the client was closed"
            case "ended":
                channel.conversation.note_end("it is late")
            case "torn":
                channel._sends.torn = True
            case "inside":
                held = here.inside
            case _:
                held = here.turn
    with held:
        assert call_lone(channel, head) is None
    assert not channel.conversation.pending
    assert not here.is_inside()


def test_is_left_where_something_has_come_in_a_pause(ends: Ends) -> None:
    """Such as the connection's end: nothing was sent."""
    channel, far = ends
    far.say(Goodbye("it is late"))
    used(channel, 1.0)
    assert channel.shortcut.call(b"args", None) is None
    assert not channel.conversation.pending
    assert channel.reader.turns.reader is None


def test_is_taken_after_a_pause_in_which_nothing_came(ends: Ends, pool: ThreadPoolExecutor) -> None:
    """As a client calls that is one of many, or that thinks in between."""
    channel, far = ends
    used(channel, 1.0)
    calling = pool.submit(channel.shortcut.call, b"args", None)
    far.say(Reply(far.read().request, b"value"))
    assert calling.result() == b"value"


def test_ends_with_the_connection(ends: Ends, pool: ThreadPoolExecutor) -> None:
    """While it reads, and before it begins."""
    channel, far = ends
    calling = pool.submit(call_lone, channel)
    far.read()
    far.say(Goodbye("it is late"))
    answer = calling.result()
    assert isinstance(answer, ServerGone)
    assert answer.progress == "unknown"
    assert call_lone(channel) is None


def test_lost_connection_ends_a_call_that_could_not_be_sent(ends: Ends) -> None:
    """What came before the end is still read."""
    channel, far = ends
    far.say(Goodbye("it is late"))
    far.sock.close()
    answer = call_lone(channel)
    assert isinstance(answer, ServerGone)
    assert "it is late" in str(answer)
    assert answer.progress == "not started"


def test_standby_that_is_asked_meanwhile_does_not_take_the_turn(
    ends: Ends, pool: ThreadPoolExecutor
) -> None:
    """It takes over when the lone call has left, for the one that came meanwhile."""
    channel, far = ends
    calling = pool.submit(call_lone, channel)
    first = far.read()
    future = bare_future()
    with channel._lock:
        channel.admit(future, (b"second", (), False))
        channel._sends.push()
    second = far.read()
    assert channel.reader.turns.reader is not None
    far.say(Reply(first.request, b"first"))
    assert calling.result() == b"first"
    far.say(Reply(second.request, b"second"))
    assert _value(future.result(30)) == b"second"


class Server(threading.Thread):
    """Answers whatever comes over the far end, until that is closed."""

    def __init__(self, far: Far) -> None:
        super().__init__(daemon=True)
        self._far = far

    def run(self) -> None:
        """Answer with what came."""
        with suppress(AssertionError, OSError):
            while True:
                request = self._far.read()
                if isinstance(request, Execute):
                    self._far.say(Reply(request.request, bytes(request.head)))


def _asked(channel: Channel, far: Far) -> None:
    """Have the standby read, since a submitted call is under way."""
    with channel._lock:
        channel.admit(bare_future(), (b"first", (), False))
        channel.push_admitted()
    far.read()


@pytest.mark.parametrize("submits", [False, True])
def test_struck_at_any_line_it_leaves_nothing_that_others_wait_for(submits: bool) -> None:
    """No lock is held, and the next call ends: by an answer, or since the connection has ended."""
    at, through = 0, False
    while not through:
        with far_end() as (channel, far):
            if submits:
                _asked(channel, far)
            Server(far).start()
            used(channel)
            act = (bare_future(), b"args") if submits else (b"args", None)
            road = channel.shortcut.submit if submits else channel.shortcut.call
            with suppress(Struck):
                through = strike(at, road, *act, within=ROADS)
            assert not channel.link.shared.here.is_inside()
            after = bare_future()
            with suppress(Unusable):
                with channel._lock:
                    channel.admit(after, (b"next", (), False))
                    channel._sends.push()
                answer = after.result(30)
                assert isinstance(answer, ServerGone) or _value(answer) == b"next"
        at += 1
    assert at > (15 if submits else 40)  # three or four fewer from 3.12 on than on 3.11


ROADS = ("blocking/shortcut.py", "blocking/reading.py", "blocking/send_queue.py")


@pytest.mark.parametrize("submits", [False, True])
def test_who_holds_the_clients_lock_is_known_to_be_inside(ends: Ends, submits: bool) -> None:
    """At every instruction: a handler that strikes there and calls would wait for that lock."""
    channel, far = ends
    if submits:
        _asked(channel, far)
    Server(far).start()
    used(channel)
    here, seen, road = channel.link.shared.here, [], Shortcut.submit if submits else Shortcut.call

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code is not road.__code__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and channel._lock.locked():
            seen.append(here.is_inside())
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        if submits:
            channel.shortcut.submit(bare_future(), b"args")
        else:
            channel.shortcut.call(b"args", None)
    finally:
        sys.settrace(before)
    assert len(seen) > 20
    if not submits:  # else it may be the standby's
        assert all(seen)


# Submitted calls


def submit_small(channel: Channel, head: bytes = b"args") -> CallFuture | None:
    """As a client's thread submits.

    The future, if the short road took the call.
    """
    future = bare_future()
    taken = channel.shortcut.submit(future, head)
    return None if taken is None else future


@pytest.fixture
def stood_by(ends: Ends) -> Ends:
    """A channel that the standby reads, since a submitted call is under way."""
    channel, far = ends
    first = bare_future()
    with channel._lock:
        channel.admit(first, (b"first", (), False))
        channel.push_admitted()
    far.read()
    used(channel)
    return ends


def test_submitted_calls_gathers_behind_what_is_under_way(stood_by: Ends) -> None:
    """They leave in order, with what leaves next, and each gets its own answer."""
    channel, far = stood_by
    heads = [b"%d" % number for number in range(5)]
    futures = [submit_small(channel, head) for head in heads]
    assert channel._sends.waiting
    channel.link.push()
    requests = [far.read() for _ in heads]
    assert [bytes(each.head) for each in requests if isinstance(each, Execute)] == heads
    far.say(*(Reply(each.request, b"v%d" % each.request) for each in reversed(requests)))
    for future, request in zip(futures, requests, strict=True):
        assert future is not None
        answer = future.result(30)
        assert (answer.head if isinstance(answer, Reply) else answer) == b"v%d" % request.request


@pytest.mark.parametrize(
    "unusual", ["too large", "leaving", "ended", "torn", "no standby", "inside", "lone call"]
)
def test_submit_is_left_where_anything_is_unusual(stood_by: Ends, unusual: str) -> None:
    """Nothing was done. Of a thread inside, it is a handler's: it must touch no lock of it."""
    channel, _ = stood_by
    here, head, held = channel.link.shared.here, b"args", threading.Lock()
    before = list(channel.conversation.pending)
    with channel._lock:
        match unusual:
            case "leaving":
                channel.link.closing = "the client was closed"
            case "ended":
                channel.conversation.note_end("it is late")
            case "torn":
                channel._sends.torn = True
            case "too large":
                head = LARGE + b"x"
            case "inside":
                held = here.inside
            case "lone call":
                held = here.turn
            case _:
                channel._turns.asked = False
    with held:
        assert submit_small(channel, head) is None
    assert list(channel.conversation.pending) == before
    assert not channel._sends.waiting


def test_submitted_calls_ends_with_the_connection(stood_by: Ends) -> None:
    """What was taken has the end as its answer."""
    channel, far = stood_by
    taken = [submit_small(channel) for _ in range(3)]
    far.sock.close()
    for future in taken:
        assert future is not None
        assert isinstance(future.result(30), ServerGone)
    wait_until(lambda: channel.has_ended, "the end is noted")
    assert submit_small(channel) is None


def test_only_the_first_that_waits_has_to_be_seen_off(stood_by: Ends) -> None:
    """Who gathers behind it counts on that; what the socket doesn't take has to be, too."""
    channel, _ = stood_by
    used(channel)
    shortcut = channel.shortcut
    assert [shortcut.submit(bare_future(), b"args") for _ in range(3)] == [True, False, False]
    channel.link.push()
    assert [shortcut.submit(bare_future(), b"args") for _ in range(2)] == [True, False]
    while channel._sends.size < GATHERED:  # from then on each pushes
        stays = shortcut.submit(bare_future(), LARGE)
    assert stays is bool(channel._sends.waiting)
    assert shortcut.submit(bare_future(), LARGE)


def test_submit_that_is_interrupted_is_expected_no_longer(
    stood_by: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller has no future; the calls behind it are answered as if nothing had been."""
    channel, far = stood_by
    real = channel._sends.push

    def struck() -> None:
        real()
        raise KeyboardInterrupt

    before = list(channel.conversation.pending)
    with channel._lock:
        channel._sends.size += GATHERED  # so that it pushes
    with monkeypatch.context() as patch:
        patch.setattr(channel._sends, "push", struck)
        with pytest.raises(KeyboardInterrupt):
            submit_small(channel)
    assert list(channel.conversation.pending) == before
    with channel._lock:
        channel._sends.size -= GATHERED
    future = submit_small(channel, b"next")
    channel.link.push()
    while not isinstance(request := far.read(), Execute) or bytes(request.head) != b"next":
        far.say(Reply(request.request, b"nobody's"))
    far.say(Reply(request.request, b"value"))
    assert future is not None
    answer = future.result(30)
    assert (answer.head if isinstance(answer, Reply) else answer) == b"value"
