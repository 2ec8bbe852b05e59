"""Calls that nobody waits for at once, on their way to a connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import Any

import pytest

from bgpy import CallTimeout, Client, Handle, MessageTooLarge, NotRunning, Unreachable
from bgpy.address import parse
from bgpy.calling.blocking.access import Access
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.connecting import Target
from bgpy.calling.blocking.submitting import Submitter
from bgpy.calling.conversation import Acquaintance, Answer
from bgpy.wire.messages import Execute, Reply
from tests.support.channels import Far, far_end
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
        with pytest.raises(CallTimeout, match=r"0\.05 s") as caught:
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
    monkeypatch.setattr(mine, "ring", lambda: None)
    with mine._access.here.inside:
        submit(mine)

    def struck(*_: object) -> None:
        raise ValueError("a handler's")

    with monkeypatch.context() as patch:
        patch.setattr(mine._access, "connected", struck)
        with pytest.raises(ValueError, match="a handler's"):
            mine.admit_all(monotonic() + LONG)
    mine.admit_all(monotonic() + LONG)
    channel.push()
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
