"""Calls that nobody waits for at once, on their way to a connection."""

from __future__ import annotations

import gc
import logging
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import Any, cast

import pytest

from bgpy import (
    CallingSelf,
    CallTimeout,
    Client,
    Handle,
    MessageTooLarge,
    NotRunning,
    ServerRestarted,
    Unreachable,
)
from bgpy.address import parse
from bgpy.calling.blocking import submitting
from bgpy.calling.blocking.access import Access
from bgpy.calling.blocking.apart import InHand
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.connecting import Target
from bgpy.calling.blocking.link import STRUCK_SENDING
from bgpy.calling.blocking.posted import Posted
from bgpy.calling.blocking.program import Program
from bgpy.calling.blocking.submitting import Submitter
from bgpy.calling.conversation import Acquaintance, Answer
from bgpy.memory import Payload
from bgpy.tasks.current import serving
from bgpy.wire.messages import Execute, Reply
from tests.support.channels import Far, bare_future, far_end
from tests.support.connections import WELCOME
from tests.support.fixtures import free_port
from tests.support.tasks.counting import TASKS, count

__all__ = ["free_port"]

Start = Callable[..., tuple[Handle, Client]]

LONG = 30.0


def submitter(port: int = 1, connect_timeout: float = 5.0) -> Submitter:
    place = parse("127.0.0.1", port)
    target = Target(place, None, lambda: None)
    return Submitter(Access(target, connect_timeout, Acquaintance(place)))


Ends = tuple[Submitter, Channel, Far]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """What submits over a channel, that channel, and its other end."""
    mine = submitter()
    with far_end(mine._shared) as (channel, far):
        mine._access.connector.channel = channel
        yield mine, channel, far
        mine.rest()


def submit(mine: Submitter, head: bytes = b"args", timeout: float | None = None) -> Future[Any]:
    def value_of(answer: Answer) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer.head if isinstance(answer, Reply) else answer  # on either road

    return mine.submit((head, (), False), value_of, timeout)


def test_submitted_calls_leave_in_order_when_there_is_a_connection(start: Start) -> None:
    """Whatever their number, and also those that were submitted before it."""
    handle, client = start()
    client.initialize(*TASKS)
    with Client(handle.host, handle.port) as fresh:
        futures = [fresh.submit({"run": count}) for _ in range(500)]
        assert [each.result(LONG) for each in futures] == list(range(500))


@pytest.mark.parametrize("first", ["hasty", "patient", "endless"])
def test_call_whose_time_is_over_before_there_is_a_connection_ends_alone(first: str) -> None:
    """The others keep their own time, whichever was first."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mine = submitter(silent.getsockname()[1], connect_timeout=30.0)
        endless = submit(mine) if first == "endless" else None
        if first == "hasty":
            hasty, patient = submit(mine, timeout=0.05), submit(mine, timeout=1.0)
        else:
            patient, hasty = submit(mine, timeout=1.0), submit(mine, timeout=0.05)
        with pytest.raises(CallTimeout, match=r"^no connection to .* within 0\.05 s") as caught:
            hasty.result(LONG)
        assert caught.value.progress == "not started"
        assert not patient.done()
        with pytest.raises(CallTimeout, match=r"1\.0 s"):
            patient.result(LONG)
        mine.admit_all(monotonic())  # as the end of the program does
        if endless is not None:
            with pytest.raises(Unreachable, match="before the client was closed"):
                endless.result(LONG)
        mine.rest()


def test_failure_to_connect_ends_all_that_was_submitted(free_port: int) -> None:
    """Each future raises an error of its own."""
    mine = submitter(free_port)
    futures = [submit(mine) for _ in range(3)]
    errors = [each.exception(LONG) for each in futures]
    assert all(isinstance(error, NotRunning) for error in errors)
    assert len(set(map(id, errors))) == 3
    mine.rest()


def test_message_that_is_too_large_fails_alone(ends: Ends) -> None:
    """Those before and behind it leave."""
    mine, _, far = ends
    futures = [submit(mine, head) for head in (b"one", b"x" * 300_000, b"three")]
    with pytest.raises(MessageTooLarge):
        futures[1].result(LONG)
    for future, head in ((futures[0], b"one"), (futures[2], b"three")):
        request = far.read()
        assert isinstance(request, Execute)
        assert bytes(request.head) == head
        far.say(Reply(request.request, b"value"))
        assert future.result(LONG) == b"value"


@pytest.mark.parametrize("where", ["before", "after"])
def test_admitting_that_was_interrupted_is_done_by_the_next_and_once(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Wherever it was: the call leaves once, under one id."""
    mine, channel, far = ends
    admit = channel.admit

    def struck(call: Any, payload: Any) -> None:
        if where == "after":
            admit(call, payload)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(channel, "admit", struck)
        with pytest.raises(KeyboardInterrupt):
            submit(mine)
    assert len(mine.posted) == 1
    future = submit(mine, b"behind it")
    read: list[Any] = [far.read() for _ in range(2)]
    assert [bytes(each.head) for each in read] == [b"args", b"behind it"]
    assert sorted(channel.conversation.pending) == [1, 2]
    far.say(Reply(2, b"value"))
    assert future.result(LONG) == b"value"
    assert not mine.posted


def test_handler_that_raises_while_the_client_closes_costs_no_submitted_call(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exception is the program's; what was submitted leaves the next time."""
    mine, channel, far = ends
    Rung(mine, monkeypatch)  # in the place of the thread, which would be struck instead
    with mine._access.here.inside:
        submit(mine)

    def struck(*_: object) -> None:
        raise ValueError("a handler's")

    with monkeypatch.context() as patch:
        patch.setattr(mine._access, "connected", struck)
        with pytest.raises(ValueError, match="a handler's"):
            mine.admit_all(monotonic() + LONG)
    mine.admit_all(monotonic() + LONG)
    channel.link.push()
    assert isinstance(far.read(), Execute)


def test_callbacks_run_where_other_threads_had_the_standby_read(start: Start) -> None:
    """The first future of a client may take the short road: it has its thread all the same."""
    handle, client = start()
    client.initialize(*TASKS)
    with Client(handle.host, handle.port) as fresh, ThreadPoolExecutor(4) as pool:
        done = threading.Event()
        while not done.is_set():
            calling = [pool.submit(fresh.call, {"run": count}) for _ in range(20)]
            fresh.submit({"run": count}).add_done_callback(lambda _: done.set())
            assert all(isinstance(each.result(LONG), int) for each in calling)
            assert done.wait(LONG)


# Where a call is when `submit` has returned, and who was rung

PLAIN: Payload = (b"args", (), False)


class Rung:
    """In the place of the sender's thread: it counts, and does nothing."""

    def __init__(self, mine: Submitter, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(mine._sender, "ring", self)

    def __call__(self, _: object) -> bool:
        self.count += 1
        return True


def posted(timeout: float | None = None, told: int = 0) -> Posted:
    """One that takes the long road, whatever the machine's is."""
    future = bare_future()
    future.timeout = timeout
    return Posted(future, PLAIN, told)


@pytest.mark.parametrize(
    ("case", "stays", "leaves", "rung"),
    [
        ("good", 0, 1, 0),
        ("time limit", 0, 1, 1),
        ("no channel", 1, 0, 1),
        ("gone while idle", 1, 0, 1),
        ("leaving", 1, 0, 1),
        ("torn", 1, 0, 1),
        ("inside", 1, 0, 1),
        ("restarted", 0, 0, 0),
    ],
)
def test_call_leaves_or_stays_posted_and_then_the_sender_is_rung(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, case: str, stays: int, leaves: int, rung: int
) -> None:
    """A table of what it may find; nothing is ever neither here nor there."""
    mine, channel, far = ends
    sender = Rung(mine, monkeypatch)
    one = posted(LONG if case == "time limit" else None)
    if case == "no channel":
        mine._access.connector.channel = None
    elif case == "gone while idle":
        far.sock.close()
        channel.link.last_used = monotonic() - LONG
    elif case == "leaving":
        channel.link.closing = "on its way"
    elif case == "torn":
        channel._sends.torn = True
    elif case == "restarted":
        mine._access.acquaintance.generation = channel.generation = 1
    if case == "inside":
        with mine._access.here.inside:
            mine._post(one)
    else:
        mine._post(one)
    assert (len(mine.posted), sender.count) == (stays, rung)
    assert len(channel.conversation.pending) == leaves
    if leaves:
        assert isinstance(far.read(), Execute)
    elif case == "restarted":
        assert isinstance(one.call.answer, ServerRestarted)
        again = posted(told=1)
        mine._post(again)
        assert isinstance(far.read(), Execute)
    else:
        assert not one.call.done()
        assert mine.posted[0] is one


def test_later_time_limit_rings_nobody(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender waits for the first that ends; it is rung where that is another one."""
    mine, channel, _ = ends
    sender = Rung(mine, monkeypatch)
    monkeypatch.setattr(channel, "push_admitted", lambda: False)  # nothing stays
    futures = []
    for timeout, rung in ((20.0, 1), (30.0, 1), (10.0, 2)):
        futures.append(submit(mine, timeout=timeout))
        assert sender.count == rung


@pytest.mark.parametrize("timeout", [None, 0.05])
def test_submit_waits_for_room_until_there_is_some_or_its_time_is_over(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, timeout: float | None
) -> None:
    """What the server doesn't read takes no memory without end."""
    mine, channel, far = ends
    Rung(mine, monkeypatch)
    reads = timeout is None
    waited: list[float] = []

    def wait_writable(seconds: float) -> bool:
        waited.append(seconds)
        if reads:
            far.sock.recv(2**20)
        return reads

    monkeypatch.setattr(channel.link, "wait_writable", wait_writable)
    for _ in range(18):
        submit(mine, bytes(60_000), timeout)
    assert channel.is_full != reads
    assert waited
    assert 0 < waited[0] <= 1.0


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


def submit_now(mine: Submitter, answers: list[Answer | Exception]) -> object:
    """On the short road, if it were taken, it would stay without its thread."""
    answers.append(Reply(1, b"value"))
    return submit(mine).result(0)


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


def test_short_road_is_taken_inside_of_the_client(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that strikes there and submits too must not wait for the lock that it holds."""
    mine, channel, _ = ends
    inside: list[bool] = []

    def submit_small(*_: object) -> bool:
        inside.append(mine._access.here.inside.locked())
        return False

    monkeypatch.setattr(mine._access, "short_road", lambda head: channel)
    monkeypatch.setattr(channel, "submit_small", submit_small)
    submit(mine)
    assert inside == [True]
    assert len(channel.conversation.pending) == 1


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
