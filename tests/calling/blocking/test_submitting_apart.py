"""The same where a thread can't be had, is struck, or waits, and where a connection is lost."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable
from time import monotonic
from typing import cast

import pytest

from bgpy import (
    CallingSelf,
    CallTimeout,
    Client,
    Handle,
    NotRunning,
    Unreachable,
)
from bgpy.calling.blocking import submitting
from bgpy.calling.blocking.apart import InHand
from bgpy.calling.blocking.link import STRUCK_SENDING
from bgpy.calling.blocking.posted import Posted
from bgpy.calling.blocking.program import Program
from bgpy.calling.conversation import Answer
from bgpy.tasks.current import serving
from bgpy.wire.messages import Execute, Reply
from tests.support.channels import bare_future, far_end
from tests.support.connections import WELCOME
from tests.support.fixtures import free_port
from tests.support.submitters import (
    LONG,
    Ends,
    Rung,
    ends,
    posted,
    submit_now,
    submitter,
)

__all__ = ["ends", "free_port"]

Start = Callable[..., tuple[Handle, Client]]


@pytest.mark.parametrize("case", ["the program ends", "no thread"])
def test_call_goes_over_a_connection_of_its_own_where_no_thread_can_be_had(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Here and now; its callbacks are called too, and what it raises is the future's."""
    mine, channel, _ = ends
    if case == "no thread":
        monkeypatch.setattr(mine._shared.finishers, "start", lambda: False)
    else:
        monkeypatch.setattr(Program, "ends", True)
    answers: list[Answer | Exception] = [Reply(1, b"value"), NotRunning("nobody")]

    def apart(*_: object) -> Answer:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(mine._access, "apart", apart)
    called: list[object] = []
    good, bad = posted(), posted()
    for each in (good, bad):
        each.call.add_done_callback(called.append)
        mine._post(each)
    assert called == [good.call, bad.call]
    assert good.call.result(0) == Reply(1, b"value")
    assert isinstance(bad.call.answer, NotRunning)
    assert not channel.conversation.pending
    assert submit_now(mine, answers) == b"value"


def test_all_that_was_posted_goes_apart_where_the_sender_can_not_be_started(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order, inside of the client."""
    mine, _, _ = ends
    monkeypatch.setattr(mine._sender, "ring", lambda _: False)
    seen: list[object] = []

    def apart(one: Posted) -> None:
        assert mine._access.is_inside()
        seen.append(one)

    monkeypatch.setattr(mine.apart, "submit", apart)
    both = [posted(), posted()]
    mine.posted.append(both[0])
    mine._access.connector.channel = None
    mine._post(both[1])
    assert seen == both


def test_handlers_call_goes_apart_where_no_thread_can_be_had(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread may be anywhere, so it takes no lock, and leaves what others posted."""
    mine, _, _ = ends
    monkeypatch.setattr(mine._sender, "start", lambda: False)
    seen: list[object] = []
    monkeypatch.setattr(mine.apart, "submit", seen.append)
    both = [posted(), posted()]
    mine.posted.append(both[0])
    with mine._access.here.inside, mine._shared.lock:
        mine._post(both[1])
    assert seen == both[1:]
    assert list(mine.posted) == both[:1]


def test_who_waits_sees_to_what_is_posted_still(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever was struck, or could get no thread, may not come again."""
    mine, _, _ = ends
    waits = posted()
    mine.posted.append(waits)
    for inside in (True, False):
        monkeypatch.setattr(mine._access, "is_inside", lambda inside=inside: inside)
        rung = Rung(mine, monkeypatch)
        mine._waited_for(waits.call)
        assert rung.count == (not inside)
    mine.posted.clear()


def test_call_that_a_struck_thread_has_in_hand_is_not_admitted_too(ends: Ends) -> None:
    """It would run twice; the others are."""
    mine, channel, _ = ends
    both = [posted(), posted()]
    mine.posted.extend(both)
    lock = threading.Lock()
    mine.apart.in_hand.append(InHand(lock, both[0]))
    with mine._shared.lock:
        mine.admit(channel)
    assert list(channel.conversation.pending.values()) == [both[1].call]
    mine._waited_for(both[1].call)
    assert both[0].call.done()


@pytest.mark.parametrize("pushes", [[False], [True, False], [True, True]])
def test_sender_hears_of_what_was_posted_while_it_sent(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, pushes: list[bool]
) -> None:
    """Else nobody would look at that any more."""
    mine, channel, _ = ends
    monkeypatch.setattr(mine, "admit_all", lambda: None)
    for left in (True, False):
        given = iter(pushes)
        monkeypatch.setattr(channel.link, "push", lambda given=given: next(given))
        mine.posted.extend([posted()] * left)
        assert mine.send_posted(0.0) == (left or pushes[-1])
        mine.posted.clear()
    mine._access.connector.channel = None
    assert not mine.send_posted(0.0)


def test_connection_that_was_struck_is_dropped_and_the_next_one_takes_all(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept, it would be tried for ever."""
    mine, channel, far = ends
    Rung(mine, monkeypatch)
    dropped: list[object] = []
    with far_end(mine._shared) as (struck, _):
        struck._sends.torn = True
        given = iter([struck, channel])
        monkeypatch.setattr(mine._access, "connected", lambda *_: next(given))
        monkeypatch.setattr(mine._access.connector, "drop", lambda *args: dropped.append(args))
        mine.posted.append(posted())
        mine.admit_all()
        assert dropped == [(struck, STRUCK_SENDING)]
    channel.link.push()
    assert isinstance(far.read(), Execute)


@pytest.mark.parametrize("error", [CallTimeout("late"), NotRunning("nobody"), MemoryError("none")])
def test_each_that_was_posted_ends_where_no_connection_can_be_made(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """In an error of its own, of bgpy's; at the program's end the log says how many."""
    mine = submitter()

    def connected(*_: object) -> None:
        raise error

    monkeypatch.setattr(mine._access, "connected", connected)
    monkeypatch.setattr(submitting, "is_strike", lambda _: False)  # as if it came from bgpy
    monkeypatch.setattr(Program, "ends", True)
    all_posted = [posted(), posted(LONG)]
    mine.posted.extend(all_posted)
    with caplog.at_level(logging.WARNING, "bgpy.client"):
        mine.admit_all(monotonic())
    assert "2 submitted calls were not sent" in caplog.text
    answers = [cast(Exception, each.call.answer) for each in all_posted]
    expected = NotRunning if isinstance(error, NotRunning) else Unreachable
    assert [type(each) for each in answers] == [expected] * 2
    assert answers[0] is not answers[1]
    assert not mine.posted


def test_connection_that_is_lost_while_it_sends_costs_no_exception(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The future tells, and the thread that submits goes on."""
    mine, channel, far = ends
    Rung(mine, monkeypatch)
    far.sock.close()
    channel.link.last_used = monotonic() + LONG  # not looked at before
    one = posted()
    mine._post(one)
    assert channel.has_ended
    assert one.call.done()


def test_task_that_waits_learns_whether_it_would_wait_for_ever(ends: Ends) -> None:
    """As soon as there is a connection that tells; outside of tasks nothing is looked at."""
    mine, channel, _ = ends
    future, told = bare_future(), []
    channel.waited_for = told.append  # type: ignore[method-assign]
    assert not mine._waited_for(future)
    with serving(WELCOME.incarnation), pytest.raises(CallingSelf, match="future"):
        mine._waited_for(future)
    with serving(b"another server"):
        with mine._access.here.inside:
            assert mine._waited_for(future)  # a handler's may not take the lock
        assert told == []
        assert mine._waited_for(future)
        assert told == [future]
        mine._access.connector.channel = None
        assert mine._waited_for(future)
    with serving(WELCOME.incarnation):
        assert mine._waited_for(future)  # not known yet
    assert told == [future]


def test_channel_rings_the_sender_and_keeps_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has begun to send and waits for no longer is sent by the client, if there is one."""
    mine = submitter()
    sender = Rung(mine, monkeypatch)
    shared = mine._shared
    push_on = shared.push_on()
    assert push_on is not None
    push_on()
    assert sender.count == 1
    found = weakref.ref(mine)
    monkeypatch.undo()
    del mine, push_on, sender
    gc.collect()
    assert found() is None
    assert shared.push_on() is None
