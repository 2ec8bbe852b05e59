"""The gate: what leaves for each way that a call can end."""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import threading
from typing import Any

import pytest

from bgpy.codec.failures import rebuild
from bgpy.codec.payload import joined
from bgpy.errors import (
    AlreadyResponded,
    CallingSelf,
    CallTimeout,
    DecodeError,
    EncodeError,
    MessageTooLarge,
    NoResponse,
    NotInitialized,
    NotRunning,
    PythonMismatch,
    RemoteError,
    RemoteProtocolError,
    ServerGone,
)
from bgpy.memory import Payload
from bgpy.serving import outbox as outbox_module
from bgpy.serving.job import Job
from bgpy.serving.outbox import Outbox
from bgpy.tasks.client_socket import ClientSocket
from bgpy.tasks.lifecycle import Kind, Outcome, Result
from bgpy.wire.messages import (
    Execute,
    Exit,
    Failure,
    Init,
    Message,
    Reason,
    Receipt,
    ReceiptCode,
    Reply,
)
from tests.support.strikes import Struck, strike


class Peer:
    """A client that keeps what it is sent."""

    client_id = b"c" * 16

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, message: Message) -> None:
        self.sent.append(message)

    def reply(self, request: int, packed: Payload, error: bool, more: bool) -> None:
        head, buffers, code = packed
        self.send(Reply(request, head, buffers, code=code, error=error))


class Narrow(Peer):
    """One with a limit for messages."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def send(self, message: Message) -> None:
        assert isinstance(message, Failure)
        head = joined(message.head) if isinstance(message.head, tuple) else message.head
        if len(head) + len(message.text) + len(message.traceback) > self.most:
            raise MessageTooLarge(f"over {self.most} bytes")
        self.sent.append(message)


MESSAGES = {Kind.INIT: Init(4, b""), Kind.EXEC: Execute(4, b""), Kind.EXIT: Exit(4, b"")}
DONE = Outcome(Result.DONE)
RAISED = Outcome(Result.RAISED, ValueError("why"))


def _outbox() -> Outbox:
    return Outbox(lambda action: action())


def _job(kind: Kind, waits: bool, outbox: Outbox) -> tuple[Job, Peer, ClientSocket]:
    peer = Peer()
    job = Job(kind, peer, MESSAGES[kind], waits)
    return job, peer, ClientSocket(outbox, job, waits)


def _said(message: Message) -> str:
    assert message.request == 4
    if isinstance(message, Receipt):
        return ReceiptCode(message.code).name
    if isinstance(message, Failure):
        return Reason(message.reason).name
    return type(message).__name__


ENDS = [
    # kind, waits, what the task did with the client socket, outcome, what leaves at the end
    (Kind.INIT, False, "nothing", DONE, ["INITIALIZED"]),
    (Kind.INIT, False, "nothing", Outcome(Result.ALREADY_INITIALIZED), ["ALREADY_INITIALIZED"]),
    (Kind.INIT, False, "nothing", RAISED, ["TASK"]),
    (Kind.EXEC, True, "nothing", DONE, ["NO_RESPONSE"]),
    (Kind.EXEC, True, "answered", DONE, []),
    (Kind.EXEC, True, "deferred", DONE, []),
    (Kind.EXEC, True, "nothing", RAISED, ["TASK"]),
    (Kind.EXEC, True, "answered", RAISED, []),
    (Kind.EXEC, True, "deferred", RAISED, ["TASK"]),
    (Kind.EXEC, False, "nothing", DONE, []),
    (Kind.EXEC, False, "nothing", RAISED, []),
    (Kind.EXIT, True, "nothing", DONE, ["NO_RESPONSE"]),
    (Kind.EXIT, True, "answered", DONE, []),
    (Kind.EXIT, True, "nothing", Outcome(Result.WITHOUT_TASKS), ["RECEIVED"]),
    (Kind.EXIT, True, "nothing", RAISED, ["TASK"]),
    (Kind.EXIT, False, "nothing", DONE, ["RECEIVED"]),
    (Kind.EXIT, False, "nothing", Outcome(Result.WITHOUT_TASKS), ["RECEIVED"]),
    (Kind.EXIT, False, "nothing", RAISED, ["TASK"]),
]


@pytest.mark.parametrize(("kind", "waits", "did", "outcome", "expected"), ENDS)
def test_finish_answers_each_call_once_however_it_ended(
    kind: Kind, waits: bool, did: str, outcome: Outcome, expected: list[str]
) -> None:
    """Every call that is waited for has one end, the others none but a receipt."""
    outbox = _outbox()
    job, peer, client_socket = _job(kind, waits, outbox)
    client_socket.answered = did == "answered"
    deferred = client_socket.defer() if did == "deferred" else None
    outbox.finish(job, client_socket, outcome)
    assert [_said(message) for message in peer.sent] == expected
    assert (deferred is not None) == (did == "deferred")


@pytest.mark.parametrize(
    ("error", "cause", "kind"),
    [
        (ValueError("why"), ValueError("small"), ValueError),
        (ValueError("why"), ValueError(bytes(50_000)), ValueError),
        (ValueError(bytes(50_000)), ValueError("small"), RemoteError),
    ],
)
def test_failure_that_is_too_large_is_sent_without_its_causes_or_in_words(
    error: Exception, cause: Exception, kind: type
) -> None:
    """Once, and as much of it as there is room for."""
    error.__cause__ = cause
    peer = Narrow(20_000)
    outbox = _outbox()
    job = Job(Kind.EXEC, peer, MESSAGES[Kind.EXEC], True)
    outbox.finish(job, ClientSocket(outbox, job, True), Outcome(Result.RAISED, error))
    (failure,) = peer.sent
    assert failure.reason == Reason.TASK
    there = rebuild("ValueError", failure.text, "", failure.head, failure.buffers, failure.code)
    assert type(there) is kind
    assert (there.__cause__ is None) == (len(repr(cause)) > 1000 or kind is RemoteError)
    assert ("over 20000 bytes" in str(there)) == (kind is RemoteError)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("outcome", [DONE, RAISED])
def test_finish_answers_nobody_when_the_job_is_the_servers_own(
    caplog: pytest.LogCaptureFixture, kind: Kind, outcome: Outcome
) -> None:
    """Nobody asked; a failure is in the log, but an init file's, which ends the server."""
    outbox = _outbox()
    job = Job(kind, None, None, False)
    outbox.finish(job, ClientSocket(outbox, job, False), outcome)
    told = outcome is RAISED and kind is not Kind.INIT
    assert (len(caplog.messages), outbox.unseen) == (told, told)


@pytest.mark.parametrize(
    ("kind", "waits", "answered"),
    [(Kind.EXEC, False, False), (Kind.EXEC, True, True), (Kind.EXIT, True, True)],
)
def test_finish_logs_a_failure_with_its_traceback_when_nobody_waits_for_it(
    caplog: pytest.LogCaptureFixture, kind: Kind, waits: bool, answered: bool
) -> None:
    """It is not lost: the log has it."""
    outbox = _outbox()
    job, _, client_socket = _job(kind, waits, outbox)
    client_socket.answered = answered
    with caplog.at_level(logging.ERROR, "bgpy.server"):
        outbox.finish(job, client_socket, RAISED)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "ValueError: why" in caplog.text
    assert outbox.unseen == 1
    assert outbox.last_unseen == f"{kind.name.lower()}_task: ValueError: why"


REASONS = [
    # how the call ended, with what error, the reason that is told
    (Result.UNREADABLE, DecodeError("no"), Reason.DECODE),
    (Result.UNREADABLE, PythonMismatch("no"), Reason.PYTHON),
    (Result.UNREADABLE, ServerGone("no"), Reason.TASK),
    (Result.UNREADABLE, TypeError("no"), Reason.TASK),
    (Result.WITHOUT_TASKS, NotInitialized("no"), Reason.NOT_INITIALIZED),
    *(
        (Result.RAISED, kind("no"), Reason.TASK)
        for kind in [
            AlreadyResponded,
            CallTimeout,
            CallingSelf,
            DecodeError,
            EncodeError,
            KeyError,
            MessageTooLarge,
            NoResponse,
            NotInitialized,
            NotRunning,
            PythonMismatch,
            RemoteProtocolError,
            ServerGone,
        ]
    ),
]


@pytest.mark.parametrize(("result", "error", "reason"), REASONS)
def test_finish_gives_a_reason_only_when_the_failure_is_one_of_ours(
    result: Result, error: Exception, reason: Reason
) -> None:
    """What a task raises is the task's exception, also where it is an error of bgpy's."""
    outbox = _outbox()
    job, peer, client_socket = _job(Kind.EXEC, True, outbox)
    outbox.finish(job, client_socket, Outcome(result, error))
    (message,) = peer.sent
    assert message.reason == reason
    assert message.text == str(error)
    assert bool(message.head) is (reason is Reason.TASK)
    assert bool(message.traceback) is (reason is Reason.TASK)


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    ("result", "error"),
    [(Result.UNREADABLE, TypeError("no")), (Result.UNSENT, EncodeError("no"))],
)
def test_finish_of_an_exit_says_whether_the_server_keeps_serving(
    result: Result, error: Exception, waits: bool
) -> None:
    """A client waits for the server's end after any failure that a task might have raised."""
    outbox = _outbox()
    job, peer, client_socket = _job(Kind.EXIT, waits, outbox)
    outbox.finish(job, client_socket, Outcome(result, error))
    (message,) = peer.sent
    assert message.reason == Reason.KEEPS_SERVING
    assert message.traceback


def test_reply_carries_the_request_id_when_the_caller_waits() -> None:
    """The reply finds its way to the call."""
    outbox = _outbox()
    _, peer, client_socket = _job(Kind.EXEC, True, outbox)
    client_socket.respond({"a": 1})
    (message,) = peer.sent
    assert isinstance(message, Reply)
    assert (message.request, message.error, message.code) == (4, False, False)


def test_reply_is_dropped_when_nobody_waits() -> None:
    """Not even an object that can't travel is looked at."""
    _, peer, client_socket = _job(Kind.EXEC, False, _outbox())
    client_socket.respond(lambda: None)
    assert peer.sent == []


def test_reply_is_counted_when_it_is_an_error_that_nobody_waits_for() -> None:
    """A response marked as an error is a failure too."""
    outbox = _outbox()
    _, _, client_socket = _job(Kind.EXEC, False, outbox)
    client_socket.respond("no such thing", error=True)
    assert (outbox.unseen, outbox.last_unseen) == (1, "exec_task: 'no such thing'")


def test_reply_warns_when_nobody_asked(caplog: pytest.LogCaptureFixture) -> None:
    """An init file's `init_task` may respond; the log says that it was in vain."""
    outbox = _outbox()
    outbox.reply(Job(Kind.INIT, None, None, False), "hello?", False)
    assert "no caller waits for it" in caplog.text


@pytest.mark.parametrize("waits", [True, False])
def test_drop_fails_the_call_or_counts_it_when_nobody_waits(waits: bool) -> None:
    """Not where the collector calls it, but soon."""
    later: list[Any] = []
    outbox = Outbox(later.append)
    job, peer, client_socket = _job(Kind.EXEC, waits, outbox)
    deferred = client_socket.defer()
    outbox.finish(job, client_socket, DONE)
    del deferred
    gc.collect()
    assert peer.sent == []
    (action,) = later
    action()
    assert [_said(message) for message in peer.sent] == (["DROPPED"] if waits else [])
    assert outbox.unseen == (not waits)
    assert not outbox.deferred


@pytest.mark.parametrize("act", ["respond", "fail"])
def test_deferred_knows_the_open_calls_when_they_are_answered_early_or_late(act: str) -> None:
    """Answered before the task has returned, it never gets there."""
    outbox = _outbox()
    job, peer, client_socket = _job(Kind.EXEC, True, outbox)
    early = client_socket.defer()
    early.respond(1)
    outbox.finish(job, client_socket, DONE)
    assert not outbox.deferred
    job, peer, client_socket = _job(Kind.EXEC, True, outbox)
    late = client_socket.defer()
    outbox.finish(job, client_socket, DONE)
    assert set(outbox.deferred) == {(peer.client_id, 4)}
    if act == "fail":
        late.fail(ValueError("after all"))
    else:
        late.respond("after all")
    assert not outbox.deferred


class Slow:
    """Travels, or turns out not to, only when it is allowed to."""

    def __init__(self, travels: bool) -> None:
        self.travels = travels
        self.begun, self.allowed = threading.Event(), threading.Event()

    def __reduce__(self) -> Any:
        self.begun.set()
        assert self.allowed.wait(30)
        if not self.travels:
            raise TypeError("not a value")
        return int, ()


@pytest.mark.parametrize("travels", [True, False])
@pytest.mark.parametrize(("outcome", "left"), [(DONE, "DROPPED"), (RAISED, "TASK")])
@pytest.mark.parametrize("end", ["dropped", "server ended", "other response"])
def test_call_is_open_while_its_response_is_on_its_way_when_its_task_ends(
    travels: bool, outcome: Outcome, left: str, end: str
) -> None:
    """A claim is no answer: what can't travel leaves the call to whoever ends it."""
    outbox = _outbox()
    job, peer, client_socket = _job(Kind.EXEC, True, outbox)
    deferred, slow = [client_socket.defer()], Slow(travels)
    refused: list[bool] = []

    def respond() -> None:
        try:
            deferred[0].respond(slow)
        except EncodeError:
            refused.append(True)

    thread = threading.Thread(target=respond)
    thread.start()
    assert slow.begun.wait(30)
    job.outcome = outcome  # as the worker notes it
    outbox.finish(job, client_socket, outcome)
    assert set(outbox.deferred) == {(peer.client_id, 4)}
    slow.allowed.set()
    thread.join()
    assert bool(outbox.deferred) == bool(refused) == (not travels)
    if end == "other response":
        with contextlib.suppress(AlreadyResponded):
            deferred[0].respond("in words")
    elif end == "server ended":
        outbox.end_deferred()
    deferred.clear()
    gc.collect()
    said = [_said(message) for message in peer.sent]
    assert said == ["Reply" if travels or end == "other response" else left]
    assert not outbox.deferred
    assert outbox.unseen == (outcome is RAISED)


@pytest.mark.parametrize("did", ["nothing", "deferred"])
def test_finish_ends_a_failed_call_wherever_it_was_struck_before(did: str) -> None:
    """Called again, it does what was left: the claim on a deferred call is still its own."""
    for at in itertools.count():
        outbox = _outbox()
        job, peer, client_socket = _job(Kind.EXEC, True, outbox)
        deferred = client_socket.defer() if did == "deferred" else None
        through = False
        with contextlib.suppress(Struck):
            within = ("serving/outbox", "tasks/client_socket")
            through = strike(at, outbox.finish, job, client_socket, RAISED, within=within)
        outbox.finish(job, client_socket, RAISED)
        del deferred
        assert peer.sent, at
        assert {_said(message) for message in peer.sent} == {"TASK"}
        if through:
            assert at > 10
            break


def test_calls_that_are_deferred_when_the_server_ends_are_told_that_they_ran(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each once, and the log has a line; who answers later has made no mistake."""
    outbox = _outbox()
    job, peer, client_socket = _job(Kind.EXEC, True, outbox)
    deferred = client_socket.defer()
    outbox.finish(job, client_socket, DONE)
    outbox.end_deferred()
    outbox.end_deferred()
    (message,) = peer.sent
    assert (message.reason, message.text) == (Reason.DROPPED, outbox_module.ENDED_UNANSWERED)
    assert caplog.text.count("ended with NoResponse") == 1
    deferred.respond("late")
    deferred.fail(LookupError("later"))
    del deferred
    gc.collect()
    assert len(peer.sent) == 1


def test_deferred_of_a_task_that_raised_says_so_when_it_is_used() -> None:
    """Nobody had responded: the caller has got the exception."""
    outbox = _outbox()
    job, peer, client_socket = _job(Kind.EXEC, True, outbox)
    deferred = client_socket.defer()
    outbox.finish(job, client_socket, RAISED)
    with pytest.raises(
        AlreadyResponded, match="its task has raised an exception, which the caller"
    ):
        deferred.respond("late")
    with pytest.raises(
        AlreadyResponded, match="its task has raised an exception, which the caller"
    ):
        deferred.fail(LookupError())
    del deferred
    gc.collect()
    assert len(peer.sent) == 1


@pytest.mark.parametrize("again", [True, False])
def test_failure_after_the_response_is_told_as_what_it_is(
    caplog: pytest.LogCaptureFixture, again: bool
) -> None:
    """A second response is one: the caller has the first."""
    outbox = _outbox()
    job, peer, client_socket = _job(Kind.EXEC, True, outbox)
    client_socket.respond(1)
    outcome = RAISED
    if again:
        with pytest.raises(AlreadyResponded) as caught:
            client_socket.respond(2)
        outcome = Outcome(Result.RAISED, caught.value)
    outbox.finish(job, client_socket, outcome)
    assert len(peer.sent) == 1
    assert "failed after it had responded; the caller has its response" in caplog.text
    assert "not wait" not in caplog.text
