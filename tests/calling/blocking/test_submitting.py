"""Calls that nobody waits for at once, on their way to a connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any

import pytest

from bgpy import (
    BgpyError,
    CallTimeout,
    Client,
    Handle,
    MessageTooLarge,
    NotRunning,
    ServerRestarted,
    Unreachable,
)
from bgpy.calling.blocking import submitting
from bgpy.wire.messages import Execute, Reply
from tests.support.fixtures import free_port
from tests.support.submitters import (
    LONG,
    Ends,
    Rung,
    ends,
    posted,
    submit,
    submitter,
)
from tests.support.tasks.counting import TASKS, count

__all__ = ["ends", "free_port"]

Start = Callable[..., tuple[Handle, Client]]


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


def test_looking_for_those_whose_time_is_over_takes_what_others_submit_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As other threads do, and without an end to what goes on: only the late ones end."""
    mine = submitter()
    late, patient, behind, more = posted(0.0), posted(LONG), posted(0.0), posted()
    mine.posted.extend([late, patient, behind])
    is_over = submitting.is_over

    def meanwhile(deadline: float | None) -> bool:
        mine.posted.append(more)
        return is_over(deadline)

    with monkeypatch.context() as patch:
        patch.setattr(submitting, "is_over", meanwhile)
        assert mine._fail_late()
    assert [type(each.call.answer) for each in (late, behind)] == [CallTimeout] * 2
    assert not any(each.call.done() for each in (patient, more))
    assert mine.posted[0] is patient
    assert behind.payload[0] == b"", "what it would have sent is forgotten"


def test_what_ended_between_others_is_not_sent(ends: Ends) -> None:
    """Its time was over before there was a connection; the others leave in order."""
    mine, channel, _ = ends
    first, late, last = (posted(each) for each in (None, 0.0, None))
    mine.posted.extend([first, late, last])
    assert mine._fail_late()
    with mine._shared.lock:
        mine.admit(channel)
    assert not mine.posted
    assert [*channel.conversation.pending.values()] == [first.call, last.call]


def test_failure_to_look_at_time_limits_is_no_failure_to_connect(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is done again, and the call ends when its time is over."""
    failures = [MemoryError(), RuntimeError("a mistake")]
    is_over = submitting.is_over

    def fails(deadline: float | None) -> bool:
        if failures:
            raise failures.pop()
        return is_over(deadline)

    monkeypatch.setattr(submitting, "is_over", fails)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mine = submitter(silent.getsockname()[1], connect_timeout=LONG)
        hasty = submit(mine, timeout=0.01)
        with pytest.raises(CallTimeout):
            hasty.result(LONG)
        assert not failures
        mine.rest()
    assert "a mistake" in caplog.text


def test_failure_to_hand_a_call_over_is_its_own_and_no_failure_to_connect(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those behind it leave."""
    mine, channel, _ = ends
    first, second = posted(), posted()
    mine.posted.extend([first, second])
    admit = channel.admit

    def fails(call: Any, payload: Any) -> None:
        if call is first.call:
            raise RuntimeError("a mistake")
        admit(call, payload)

    monkeypatch.setattr(channel, "admit", fails)
    sender = threading.Thread(target=mine.admit_all)  # in the main one a handler's raises
    sender.start()
    sender.join(LONG)
    error = first.call.answer
    assert isinstance(error, BgpyError)
    assert not isinstance(error, ConnectionError)
    assert "could not be sent: RuntimeError: a mistake" in str(error)
    assert error.progress == "not started"
    assert [*channel.conversation.pending.values()] == [second.call]


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
