"""What a task holds of its caller: one answer a call, now or later."""

from __future__ import annotations

import contextlib
import gc
import itertools
import re
import sys
import threading
from collections.abc import Callable

import pytest

from bgpy.errors import AlreadyResponded, EncodeError
from bgpy.tasks import client_socket as client_socket_module
from bgpy.tasks.client_socket import ClientSocket, Deferred, Ended, respond
from bgpy.tasks.compatibility import Message, MessageType
from tests.support.forks import forked_while_held
from tests.support.outlets import Outlet, small, through
from tests.support.strikes import Struck, strike


@pytest.fixture
def outlet() -> Outlet:
    return Outlet()


Make = Callable[[Outlet], ClientSocket]


@pytest.fixture(params=[through, small], ids=["any", "small"])
def make(request: pytest.FixtureRequest) -> Make:
    """Both that a task may get: of any call, and the one that a small call itself is."""
    made: Make = request.param
    return made


@pytest.fixture
def client_socket(outlet: Outlet, make: Make) -> ClientSocket:
    return make(outlet)


@pytest.mark.parametrize("error", [False, True])
def test_respond_hands_the_response_on(
    client_socket: ClientSocket, outlet: Outlet, error: bool
) -> None:
    """As 0.3.1's function and as the method."""
    respond(client_socket, {"a": 1}, error=error)
    assert outlet.replies == [({"a": 1}, error)]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Message(MessageType.OK, {"a": 1}), ({"a": 1}, False)),
        (Message(MessageType.ERROR, {"why": "so"}), ({"why": "so"}, True)),
        (Message(MessageType.OK), ({}, False)),
    ],
)
def test_send_responds_with_the_args_when_a_message_is_given(
    client_socket: ClientSocket, outlet: Outlet, message: Message, expected: object
) -> None:
    """How 0.3.1's tasks spelled it."""
    client_socket.send(message)
    assert outlet.replies == [expected]


def test_send_says_what_sends_other_objects(client_socket: ClientSocket, outlet: Outlet) -> None:
    """Than messages; the call stays open."""
    with pytest.raises(TypeError, match=r"not bytes: respond\(client_socket, value\) sends any"):
        client_socket.send(b"text")  # type: ignore[arg-type]
    client_socket.respond(1)
    assert outlet.replies == [(1, False)]


def test_respond_raises_when_the_call_has_its_response(
    client_socket: ClientSocket, outlet: Outlet
) -> None:
    """The first response stands, however the second is tried."""
    client_socket.respond(1)
    for again in (client_socket, client_socket.defer()):
        with pytest.raises(AlreadyResponded):
            again.respond(2)
        with pytest.raises(AlreadyResponded):
            again.fail(ValueError())
    with pytest.raises(AlreadyResponded):
        client_socket.send(Message(MessageType.OK))
    assert (outlet.replies, outlet.failures) == ([(1, False)], [])


def test_respond_may_be_called_again_when_the_response_could_not_travel(
    client_socket: ClientSocket, outlet: Outlet
) -> None:
    """Nothing was sent, so the call is still open."""
    outlet.refusal = EncodeError("a lock")
    with pytest.raises(EncodeError):
        client_socket.respond(threading.Lock())
    outlet.refusal = None
    client_socket.respond("in words")
    assert outlet.replies == [("in words", False)]


def test_fail_ends_the_call_with_an_exception(client_socket: ClientSocket, outlet: Outlet) -> None:
    """The caller sees it raised; the task goes on."""
    error = ValueError("why")
    client_socket.fail(error)
    assert outlet.failures == [error]


def test_deferred_answers_when_it_is_used_in_another_thread(
    client_socket: ClientSocket, outlet: Outlet
) -> None:
    """The task may have returned long before."""
    deferred = client_socket.defer()
    assert client_socket.deferred
    assert not client_socket.answered
    thread = threading.Thread(target=deferred.respond, args=("later",))
    thread.start()
    thread.join()
    assert outlet.replies == [("later", False)]


def test_deferred_answers_once_when_many_threads_try(outlet: Outlet, make: Make) -> None:
    """One of them wins, the others learn it."""
    for _ in range(50):
        deferred = make(outlet).defer()
        losers: list[int] = []
        start = threading.Barrier(4)

        def answer(
            number: int,
            deferred: Deferred = deferred,
            losers: list[int] = losers,
            start: threading.Barrier = start,
        ) -> None:
            start.wait()
            try:
                deferred.respond(number)
            except AlreadyResponded:
                losers.append(number)

        threads = [threading.Thread(target=answer, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (reply,) = outlet.replies
        assert sorted([*losers, reply[0]]) == [0, 1, 2, 3]
        outlet.replies.clear()


def test_deferred_tells_the_outlet_when_it_is_dropped(outlet: Outlet) -> None:
    """A caller isn't left waiting for what nobody holds any more."""
    through(outlet, call="the call").defer()
    gc.collect()
    assert outlet.dropped == ["the call"]


def _drop_in_a_cycle(outlet: Outlet, make: Make) -> None:
    cycle: list[object] = [make(outlet).defer()]
    cycle.append(cycle)


def test_deferred_tells_the_outlet_when_it_is_collected_in_a_cycle(
    outlet: Outlet, make: Make
) -> None:
    """Also an object that only the collector finds is noticed."""
    _drop_in_a_cycle(outlet, make)
    gc.collect()
    assert len(outlet.dropped) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_deferred_is_silent_when_it_is_dropped_after_its_answer(
    outlet: Outlet, make: Make, fails: bool
) -> None:
    """An answer is the end of it."""
    deferred = make(outlet).defer()
    if fails:
        deferred.fail(ValueError())
    else:
        deferred.respond(1)
    del deferred
    gc.collect()
    assert len(outlet.failures) == fails
    assert outlet.dropped == []


def test_deferred_may_be_dropped_while_another_call_is_claimed(
    outlet: Outlet, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector may also run in the middle of `respond`."""

    class Collects(AlreadyResponded):
        def __init__(self, text: str, advice: str) -> None:
            gc.collect()
            super().__init__(text, advice=advice)

    monkeypatch.setattr(client_socket_module, "AlreadyResponded", Collects)
    answered = make(outlet)
    answered.respond(1)
    _drop_in_a_cycle(outlet, make)
    with pytest.raises(AlreadyResponded):
        answered.respond(2)
    assert len(outlet.dropped) == 1


def test_respond_leaves_the_call_open_when_it_is_struck(
    client_socket: ClientSocket, outlet: Outlet
) -> None:
    """The task's failure then reaches the caller; nobody is left waiting."""
    outlet.refusal = Struck()
    with pytest.raises(Struck):
        client_socket.respond(1)
    assert not client_socket.answered
    outlet.refusal = None
    client_socket.fail(ValueError("struck"))
    assert len(outlet.failures) == 1


def test_deferred_asked_for_twice_is_the_same(make: Make) -> None:
    """Dropping one name of it ends nothing while another is held."""
    outlet = Outlet()
    client_socket = make(outlet)
    kept = client_socket.defer()
    assert client_socket.defer() is kept
    kept.respond("later")
    assert (outlet.replies, outlet.dropped) == ([("later", False)], [])


@pytest.mark.parametrize("act", ["respond", "fail"])
def test_deferred_call_is_open_again_wherever_its_answer_was_struck(make: Make, act: str) -> None:
    """Struck before the answer left, the call can be answered, and is ended when dropped."""
    for at in itertools.count():
        outlet = Outlet()
        client_socket = make(outlet)
        deferred = client_socket.defer()
        answer = deferred.respond if act == "respond" else deferred.fail
        through_before = False
        with contextlib.suppress(Struck):
            through_before = strike(at, answer, ValueError("x"), within=("tasks/client_socket",))
        sent = len(outlet.replies) + len(outlet.failures)
        if not sent:
            try:
                deferred.respond("again")
            except AlreadyResponded:  # it was struck while it gave its claim back
                del deferred, answer
                gc.collect()
                assert outlet.dropped == [client_socket.call], at
        assert len(outlet.replies) + len(outlet.failures) + len(outlet.dropped) == 1, at
        if through_before:
            assert at > 5
            break


def test_claim_may_be_made_again_by_who_has_it_and_by_nobody_else(make: Make) -> None:
    """Who was struck just after claiming does not know it."""
    client_socket = make(Outlet())
    assert client_socket.claim("a")
    assert client_socket.claim("a")
    assert not client_socket.claim("b")
    with pytest.raises(AlreadyResponded):
        client_socket.fail(ValueError())
    assert client_socket.claim("a")


def test_deferred_ends_its_call_when_it_is_dropped_with_a_claim_that_was_lost(
    client_socket: ClientSocket, outlet: Outlet
) -> None:
    """A claim is no answer: who had it was struck before it could answer or give it back."""
    deferred = client_socket.defer()
    assert client_socket.claim(object())
    del deferred
    gc.collect()
    assert outlet.dropped == [client_socket.call]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_forked_child_drops_what_was_deferred_whatever_other_threads_were_doing(
    client_socket: ClientSocket,
) -> None:
    """Its copy of a `Deferred` ends wherever the collector finds it."""
    deferred = client_socket.defer()
    assert forked_while_held(client_socket_module._claiming.here, deferred.__del__) == 0
    deferred.respond(1)


def test_second_response_is_told_how_the_call_ended(outlet: Outlet) -> None:
    """Of `defer` only where that would have helped."""
    twice = ClientSocket(outlet, 1, True)
    twice.respond(1)
    with pytest.raises(
        AlreadyResponded, match="already been answered: call respond\\(\\) once"
    ) as caught:
        twice.respond(2)
    assert "defer" not in str(caught.value).lower()
    for ended in (Ended.SILENT, Ended.RAISED):
        late = ClientSocket(outlet, 1, True)
        late.ended, late.answered = ended, True
        with pytest.raises(AlreadyResponded, match=re.escape(ended.value)):
            late.respond(2)
    dropped = ClientSocket(outlet, 1, True)
    dropped.defer()
    gc.collect()
    with pytest.raises(AlreadyResponded, match="Deferred was dropped"):
        dropped.respond(2)
