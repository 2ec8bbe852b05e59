"""The gate: what leaves for each way that a call can end."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from bgpy.errors import (
    DecodeError,
    EncodeError,
    MessageTooLarge,
    NoResponse,
    NotInitialized,
    PythonMismatch,
    ServerGone,
)
from bgpy.memory import Payload
from bgpy.serving import outbox
from bgpy.serving.outbox import Job
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


MESSAGES = {Kind.INIT: Init(4, b""), Kind.EXEC: Execute(4, b""), Kind.EXIT: Exit(4, b"")}
DONE = Outcome(Result.DONE)
RAISED = Outcome(Result.RAISED, ValueError("why"))


def _job(kind: Kind, waits: bool) -> tuple[Job, Peer]:
    peer = Peer()
    return Job(kind, peer, MESSAGES[kind], waits), peer


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
    job, peer = _job(kind, waits)
    job.answered = did == "answered"
    job.deferred = did == "deferred"
    outbox.finish(job, outcome)
    assert [_said(message) for message in peer.sent] == expected


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("outcome", [DONE, RAISED])
def test_finish_is_silent_when_the_job_is_the_servers_own(kind: Kind, outcome: Outcome) -> None:
    """Nobody asked, so nobody is answered."""
    job = Job(kind, None, None, False)
    outbox.finish(job, outcome)


@pytest.mark.parametrize(
    ("kind", "waits", "answered"),
    [(Kind.EXEC, False, False), (Kind.EXEC, True, True), (Kind.EXIT, True, True)],
)
def test_finish_logs_a_failure_with_its_traceback_when_nobody_waits_for_it(
    caplog: pytest.LogCaptureFixture, kind: Kind, waits: bool, answered: bool
) -> None:
    """It is not lost: the log has it."""
    job, _ = _job(kind, waits)
    job.answered = answered
    with caplog.at_level(logging.ERROR, "bgpy.server"):
        outbox.finish(job, RAISED)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "ValueError: why" in caplog.text


REASONS = [
    (DecodeError("no"), Reason.DECODE),
    (PythonMismatch("no"), Reason.PYTHON),
    (MessageTooLarge("no"), Reason.TOO_LARGE),
    (NoResponse("no"), Reason.NO_RESPONSE),
    (NotInitialized("no"), Reason.NOT_INITIALIZED),
    (ServerGone("no"), Reason.NOT_STARTED),
    (EncodeError("no"), Reason.TASK),
    (KeyError("no"), Reason.TASK),
]


@pytest.mark.parametrize(("error", "reason"), REASONS)
def test_send_failure_gives_a_reason_when_it_is_one_of_ours(
    error: Exception, reason: Reason
) -> None:
    """A client in another language needs no pickle to know what happened."""
    job, peer = _job(Kind.EXEC, True)
    outbox.send_failure(job, error)
    (message,) = peer.sent
    assert message.reason == reason
    assert message.text == str(error)
    assert bool(message.head) is (reason is Reason.TASK)
    assert bool(message.traceback) is (reason is Reason.TASK)


def test_answer_replies_with_the_request_id_when_the_caller_waits() -> None:
    """The reply finds its way to the call."""
    job, peer = _job(Kind.EXEC, True)
    job.reply({"a": 1}, False)
    (message,) = peer.sent
    assert isinstance(message, Reply)
    assert (message.request, message.error, message.code) == (4, False, False)


def test_answer_drops_a_response_when_nobody_waits() -> None:
    """Not even an object that can't travel is looked at."""
    job, peer = _job(Kind.EXEC, False)
    job.reply(lambda: None, False)
    assert peer.sent == []


def test_answer_warns_when_nobody_asked(caplog: pytest.LogCaptureFixture) -> None:
    """An init file's `init_task` may respond; the log says that it was in vain."""
    Job(Kind.INIT, None, None, False).reply("hello?", False)
    assert "nobody asked" in caplog.text


@pytest.mark.parametrize("waits", [True, False])
def test_answer_fails_the_call_or_logs_when_a_deferred_response_was_dropped(
    caplog: pytest.LogCaptureFixture, waits: bool
) -> None:
    """A failure that nobody waits for is in the log."""
    job, peer = _job(Kind.EXEC, waits)
    job.end(NoResponse("dropped"))
    assert [_said(message) for message in peer.sent] == (["NO_RESPONSE"] if waits else [])
    assert ("dropped" in caplog.text) is not waits
