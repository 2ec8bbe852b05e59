"""What both sides of a connection need: what leaves over it, and its end."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import Iterator
from time import monotonic

import pytest

from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.connecting import Connected
from bgpy.calling.blocking.dialling import Reached
from bgpy.calling.blocking.link import Link
from bgpy.calling.blocking.shared import Shared, Unusable
from bgpy.calling.conversation import Call
from bgpy.errors import CallTimeout, ServerGone
from bgpy.system.latch import Latch
from bgpy.wire.messages import Cancel, Reply
from tests.support.channels import PLACE, Far, bare_future, far_end
from tests.support.connections import WELCOME, pair
from tests.support.peers import wait_until
from tests.support.timed import timed_call

Ends = tuple[Channel, Far]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A channel, and its other end."""
    with far_end() as both:
        yield both


def under_way(link: Link, number: int, left: bool = True) -> Call:
    """A call whose thread sleeps."""
    call = timed_call(0.5)
    call.waker = Latch()
    link.conversation.begin(call, number)
    call.begun = call.left = left
    return call


def test_end_wakes_all_that_wait_and_may_be_repeated(ends: Ends) -> None:
    """Who would read is told once; the first reason stays."""
    link = ends[0].link
    told: list[bool] = []
    link.tell_end = lambda: told.append(link.lock.locked())
    calls = [under_way(link, 1), under_way(link, 2, left=False)]
    for reason in ("the first", "another"):
        link.end(reason)
    assert link.has_ended
    assert [call.waker.wait(0) for call in calls] == [True, True]
    assert [getattr(call.answer, "progress", None) for call in calls] == ["unknown", "not started"]
    assert told == [True]
    assert link.conversation.ended == "the first"
    assert not link.push()


@pytest.mark.parametrize("mark", ["leaving", "torn", "ended"])
def test_no_request_is_sent_where_it_would_not_be_read(ends: Ends, mark: str) -> None:
    """What belongs to an earlier one still is, behind a goodbye."""
    link = ends[0].link
    link.check()
    assert link.can_send
    if mark == "leaving":
        link.closing = "the client was closed"
    elif mark == "torn":
        link.sends.torn = True
    else:
        link.end("it is late")
    with pytest.raises(Unusable):
        link.check()
    assert link.can_send == (mark == "leaving")


def test_call_of_which_nothing_has_left_is_taken_back(ends: Ends) -> None:
    """It never leaves; the server hears of none."""
    channel, far = ends
    link, call = channel.link, timed_call(0.5)
    link.conversation.begin(call, 1)
    link.sends.gather(call, [b"never"])
    assert not link.withdraw(call)
    assert isinstance(call.answer, CallTimeout)
    assert call.answer.progress == "not started"
    assert not link.sends.waiting
    other = under_way(link, 2)
    assert link.withdraw(other)
    cancel = far.read()
    assert isinstance(cancel, Cancel)
    assert cancel.target == 2


def test_future_whose_server_says_nothing_is_given_up(ends: Ends) -> None:
    """And who waits for it is woken."""
    link = ends[0].link
    call = under_way(link, 1)
    assert link.expire_future(call)
    assert not call.waker.wait(0)
    link.give_up_future(call)
    assert call.waker.wait(0)
    assert getattr(call.answer, "progress", None) == "unknown"
    assert not link.expire_future(call)


def test_what_was_gathered_leaves_when_the_link_is_collected() -> None:
    """Then the socket is closed."""
    client, server = pair()
    ours, theirs = socket.socketpair()
    with theirs:
        link = Link(Connected(Reached(ours, b""), client, WELCOME), Shared(PLACE))
        link.sends.gather(Call(), client.execute(1, (b"args", (), False), True))
        del link, client
        gc.collect()
        assert ours.fileno() == -1
        data = b"".join(iter(lambda: theirs.recv(1000), b""))
    assert [request.request for request in server.receive(data)] == [1]


def test_answer_reaches_a_future_whose_channel_nobody_has_any_more() -> None:
    """The standby reads on until nothing is under way; only then is the connection closed."""
    client, server = pair()
    ours, theirs = socket.socketpair()
    future = bare_future()
    with theirs:
        channel = Channel(Connected(Reached(ours, b""), client, WELCOME), Shared(PLACE))
        with channel._lock:
            channel.admit(future, (b"args", (), False))
            channel.push_admitted()
        found = weakref.ref(channel)
        del channel
        wait_until(lambda: gc.collect() >= 0 and found() is None, "the channel is collected")
        far = Far(theirs, server)
        request = far.read()
        far.say(Reply(request.request, b"value"))
        assert future.result(30) is not None
        wait_until(lambda: gc.collect() >= 0 and ours.fileno() == -1, "the socket is closed")


def test_link_of_a_struck_sender_ends_when_it_is_pushed(ends: Ends) -> None:
    """Nobody knows how much has left."""
    link = ends[0].link
    call = under_way(link, 1)
    link.sends.torn = True
    assert not link.push()
    assert isinstance(call.answer, ServerGone)
    assert "interrupted while sending" in str(call.answer)


@pytest.mark.parametrize("why", ["the server is gone", "a goodbye has left"])
def test_call_that_can_not_be_asked_for_waits_for_the_end_of_the_connection(
    ends: Ends, why: str
) -> None:
    """The thread that reads finds that, or the answer before it; a failed send is not its error."""
    channel, far = ends
    link, call = channel.link, under_way(channel.link, 100)
    if why == "a goodbye has left":
        assert channel.say_goodbye("the client closes", monotonic() + 30)
        call.chain = b"another"  # nor is the server told who waits
        link.tell_chain(call)
    else:
        far.sock.close()
    assert link.withdraw(call)
    assert call.asked
    assert call.answer is None
    assert not link.has_ended
    link.end("the thread that reads has found the end")
    assert isinstance(call.answer, CallTimeout)
    assert call.answer.progress == "unknown"
