"""A connection that threads share, with its other end in the test's hands."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from types import SimpleNamespace
from typing import NoReturn

import pytest

from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.shared import Unusable
from bgpy.calling.conversation import Answer
from bgpy.errors import CallTimeout, ServerGone
from bgpy.tasks.current import ENTRY, chain, serving
from bgpy.wire.extensions import Extension, decode_extensions
from bgpy.wire.messages import (
    Cancel,
    Execute,
    Failure,
    Goodbye,
    Ping,
    Pong,
    Reason,
    Reply,
    Status,
)
from tests.support.channels import Far, far_end
from tests.support.peers import wait_until

Ends = tuple[Channel, Far]

LARGE = b"x" * 150_000
"""Much more than the system keeps of what nobody reads."""


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


def call(channel: Channel, head: bytes = b"args", timeout: float | None = None) -> Answer:
    """As a client's thread calls."""
    deadline = None if timeout is None else monotonic() + timeout
    return channel.call((head, (), False), b"", timeout, deadline)


def test_lone_call_gets_its_answer(ends: Ends, pool: ThreadPoolExecutor) -> None:
    """And so does a request of any other kind."""
    channel, far = ends
    calling = pool.submit(call, channel)
    request = far.read()
    assert isinstance(request, Execute)
    far.say(Reply(request.request, b"value"))
    assert calling.result() == Reply(request.request, b"value")
    pinging = pool.submit(channel.request, Ping, None, None)
    far.say(Pong(far.read().request))
    assert isinstance(pinging.result(), Pong)


def test_calls_of_several_threads_are_answered_in_any_order(
    ends: Ends, pool: ThreadPoolExecutor
) -> None:
    """One of them reads for all, or the standby does."""
    channel, far = ends
    calling = {}
    for number in range(3):
        sent = pool.submit(call, channel, b"%d" % number)
        request = far.read()
        calling[request.request] = sent
    for request in sorted(calling, reverse=True):
        far.say(Reply(request, b"to %d" % request))
    for request, sent in calling.items():
        assert sent.result() == Reply(request, b"to %d" % request)


def test_end_of_the_connection_ends_every_call(ends: Ends, pool: ThreadPoolExecutor) -> None:
    """With what the server said of it."""
    channel, far = ends
    calling = [pool.submit(call, channel) for _ in range(3)]
    for _ in calling:
        far.read()
    far.say(Goodbye("it is late"))
    for each in calling:
        answer = each.result()
        assert isinstance(answer, ServerGone)
        assert "it is late" in str(answer)
        assert answer.progress == "unknown"
    with pytest.raises(Unusable):
        call(channel)


# Time-outs


def test_time_out_of_what_left_is_what_the_server_says(
    ends: Ends, pool: ThreadPoolExecutor
) -> None:
    """It is asked to withdraw the call."""
    channel, far = ends
    calling = pool.submit(call, channel, b"args", 0.01)
    request, cancel = far.read(), far.read()
    assert isinstance(cancel, Cancel)
    assert cancel.target == request.request
    far.say(Status(cancel.request, '{"call": "withdrawn"}'))
    answer = calling.result()
    assert isinstance(answer, CallTimeout)
    assert answer.progress in ("not started", "unknown")  # unknown: this machine was too slow
    assert channel.usable()


def test_time_out_in_the_middle_of_sending_is_withdrawn_behind_the_rest(
    ends: Ends, pool: ThreadPoolExecutor
) -> None:
    """Others have calls on the connection: those are answered as if nothing had been."""
    channel, far = ends
    other = pool.submit(call, channel)
    first = far.read()
    pushed = threading.Event()
    channel.link.shared.push_on = lambda: pushed.set
    answer = call(channel, LARGE, 0.01)
    assert isinstance(answer, CallTimeout)
    assert answer.progress == "unknown"
    assert pushed.is_set()  # the client's sender was told
    pushing = pool.submit(push, channel)
    large, cancel = far.read(), far.read()
    pushing.result()
    assert isinstance(large, Execute)
    assert large.head == LARGE
    assert isinstance(cancel, Cancel)
    assert cancel.target == large.request
    far.say(Status(cancel.request, '{"call": "withdrawn"}'))
    far.say(Reply(first.request, b"value"))
    assert other.result() == Reply(first.request, b"value")
    wait_until(lambda: channel.conversation.is_quiet, "all is known to have been answered")
    assert channel.usable()


def test_time_out_in_the_middle_of_sending_ends_a_connection_of_its_own(ends: Ends) -> None:
    """Nobody else has a call on it, so the request need not arrive: it has not started."""
    channel, far = ends
    answer = call(channel, LARGE, 0.01)
    assert isinstance(answer, CallTimeout)
    assert answer.progress == "not started"
    assert not channel.usable()
    with pytest.raises(AssertionError, match="closed the connection"):
        far.read()


def test_thread_that_is_interrupted_while_sending_leaves_the_rest_to_the_sender(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the server would take a stopped message for a dead client."""
    channel, _ = ends
    pushed = threading.Event()
    channel.link.shared.push_on = lambda: pushed.set
    monkeypatch.setattr(channel.link, "wait_writable", struck)
    with pytest.raises(KeyboardInterrupt):
        call(channel, LARGE)
    assert pushed.is_set()


def push(channel: Channel) -> None:
    """As the sender does."""
    while channel.link.push():
        channel.link.wait_writable(30.0)


# Threads that were struck down


def struck(*_: object) -> NoReturn:
    """A signal handler raises."""
    raise KeyboardInterrupt


def be_struck(channel: Channel) -> None:
    """Be interrupted while reading, and once more while tidying up after that."""
    with pytest.raises(KeyboardInterrupt):
        call(channel)


@pytest.mark.parametrize("where", ["the same thread", "another thread"])
def test_no_call_begins_behind_a_reader_that_was_struck_down(
    ends: Ends, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """What it had received is lost, maybe in the middle of a message."""
    channel, far = ends
    with monkeypatch.context() as patch:
        patch.setattr(channel.reader, "_receive", struck)
        patch.setattr(channel._sent, "struck", struck)
        if where == "the same thread":
            be_struck(channel)
        else:
            pool.submit(be_struck, channel).result()
    far.read()
    assert not channel.has_ended  # nobody has found out yet
    with pytest.raises(Unusable):
        call(channel)
    assert not channel.conversation.pending.keys() - {1}
    far.sock.settimeout(0.0)
    with pytest.raises(BlockingIOError):
        far.read()  # nothing of it was sent


def test_call_behind_a_reader_that_still_reads_waits_for_the_standby(
    ends: Ends, pool: ThreadPoolExecutor
) -> None:
    """The mark alone says nothing while its owner holds its turn."""
    channel, far = ends
    reading = pool.submit(call, channel)
    first = far.read()
    wait_until(lambda: channel.reader.torn, "the first one reads")
    waiting = pool.submit(call, channel)
    second = far.read()
    for request in (second, first):
        far.say(Reply(request.request, b"value"))
    assert reading.result() == Reply(first.request, b"value")
    assert waiting.result() == Reply(second.request, b"value")


@pytest.mark.parametrize("act", [call, lambda channel: channel.admit(None, (b"", (), False))])
def test_nothing_is_sent_behind_a_thread_that_was_struck_while_it_sent(
    ends: Ends, act: object
) -> None:
    """Nobody knows how much has left."""
    channel, _ = ends
    channel._sends.torn = True
    with pytest.raises(Unusable):
        act(channel)  # type: ignore[operator]
    assert not channel.link.push()
    assert channel.has_ended


# The end


def test_goodbye_says_why_and_is_enough_where_all_was_answered(ends: Ends) -> None:
    """Nothing is to be read then; and what comes after it begins on no such connection."""
    channel, far = ends
    assert not channel.say_goodbye("the client was closed", monotonic() + 30)
    assert far.read() == Goodbye("the client was closed")
    assert not channel.usable()
    with pytest.raises(Unusable):
        call(channel)


def test_call_that_is_closed_over_is_told_so(ends: Ends, pool: ThreadPoolExecutor) -> None:
    """Not that the server closed the connection, which it did because the client had."""
    channel, far = ends
    calling = pool.submit(call, channel)
    far.read()
    deadline = monotonic() + 30
    assert channel.say_goodbye("the client was closed", deadline)
    assert far.read() == Goodbye("the client was closed")
    far.say(Goodbye("the client has left"))
    far.sock.close()
    assert channel.wait_closed(deadline)
    answer = calling.result()
    assert isinstance(answer, ServerGone)
    assert answer.problem == "the client was closed; whether the call ran is not known"
    assert answer.advice is not None
    assert "closing the client did not end the server" in answer.advice.api


# Chains of calls


@pytest.mark.parametrize("sleeps", [False, True])
def test_chain_that_grows_while_a_task_waits_is_told(
    ends: Ends, pool: ThreadPoolExecutor, sleeps: bool
) -> None:
    """Whether its thread reads, or sleeps while another one does: the server may have to refuse."""
    channel, far = ends
    running = SimpleNamespace(chain=b"", serial=7)
    entry, grown = ENTRY.pack(b"i" * 16, 7), ENTRY.pack(b"o" * 16, 3)

    def wait_in_a_task() -> Answer:
        with serving(b"i" * 16) as thread:
            thread.call = running
            return channel.call((b"", (), False), chain(), None, None)

    if sleeps:
        pool.submit(call, channel)
        far.read()
        wait_until(lambda: channel.reader.torn, "another thread reads")
    waiting = pool.submit(wait_in_a_task)
    request = far.read()
    assert isinstance(request, Execute)
    assert decode_extensions(request.extensions) == {Extension.CHAIN: entry}
    running.chain = grown
    question = far.read()
    assert isinstance(question, Status)
    told = {"call": request.request, "chain": (grown + entry).hex()}
    assert json.loads(question.text) == told
    far.say(Status(question.request, "{}"))
    far.say(Failure(request.request, Reason.CALLING_SELF))
    assert isinstance(waiting.result(), Failure)
    channel.close("the test is over")
