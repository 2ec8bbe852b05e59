"""What each message of a client does, before any thread, socket or task."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from bgpy.codec.modules import Catalogue
from bgpy.errors import RemoteProtocolError
from bgpy.serving import questions
from bgpy.serving.budget import NO_ROOM, Budget
from bgpy.serving.ending import Ending
from bgpy.serving.job import Job
from bgpy.serving.outbox import Outbox
from bgpy.serving.questions import LONGEST_QUESTION, Questions
from bgpy.serving.queue import JobQueue
from bgpy.serving.requests import CALLS_ITSELF, LONGEST_STATUS, Requests, ServerParts
from bgpy.serving.worker import SHUTTING_DOWN, Worker
from bgpy.tasks.current import ENTRY, TaskThread
from bgpy.tasks.lifecycle import NO_TASKS, Kind
from bgpy.wire.extensions import Extension, encode_extensions
from bgpy.wire.messages import (
    CODEC_NONE,
    Cancel,
    Execute,
    Exit,
    Failure,
    Goodbye,
    Init,
    Message,
    Modules,
    Ping,
    Pong,
    Reason,
    Receipt,
    ReceiptCode,
    Runs,
    Stage,
    Status,
    modules_text,
    runs_in,
    stage_of,
)

INCARNATION = b"i" * 16
MOST = 4
"""Requests that one client's line has room for."""


class Session:
    """A client's session, as far as requests know it."""

    name = "a test"

    def __init__(self, name: bytes = b"a") -> None:
        self.client_id = name * 16
        self.sent: list[Any] = []
        self.paused = self.closed = 0

    def send(self, message: Message) -> None:
        self.sent.append(message)

    def pause(self) -> None:
        self.paused += 1

    def close(self) -> None:
        self.closed += 1

    @property
    def refusals(self) -> list[tuple[int, int, str]]:
        """Request, reason and text of the failures."""
        return [(m.request, m.reason, m.text) for m in self.sent if isinstance(m, Failure)]


class Desk:
    """Requests, with a queue that nobody takes anything from."""

    def __init__(self, has_init_file: bool = False, memory: int = 2**30) -> None:
        self.drained: list[bytes] = []
        self.engine = SimpleNamespace(initialized=True, run=None, run_small=None)
        self.budget = Budget(memory)
        self.jobs: JobQueue[Job] = JobQueue(MOST, 2**20, self.drained.append, self.budget)
        self.outbox = Outbox(lambda change: None)
        self.ending = Ending(2, 2**20)
        thread = TaskThread(INCARNATION, None)
        engine: Any = self.engine
        hooks: Any = None
        self.worker = Worker(
            engine, self.jobs, self.outbox, self.ending, hooks, lambda more: None, thread
        )
        asked = Questions(Catalogue(), lambda change: None)
        parts = ServerParts(engine, self.jobs, self.outbox, self.ending, self.worker, asked)
        self.interrupted = False
        self.requests = Requests(
            parts, INCARNATION, has_init_file, lambda: 3, lambda: self.interrupted
        )

    def take(self, session: Session, *messages: Message) -> None:
        for message in messages:
            self.requests.handlers[type(message)](session, message)  # type: ignore[arg-type]

    def begin(self) -> Job:
        """Have the next job run, as the worker does."""
        job = self.jobs.pop()
        assert job is not None
        job.started = True
        job.serial = 7
        self.worker.thread.call = job
        return job


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.mark.parametrize("wait", [True, False])
def test_execute_is_queued_and_receipted_where_nobody_waits(
    desk: Desk, session: Session, wait: bool
) -> None:
    """A receipt says that it will run, and comes when it is queued."""
    desk.take(session, Execute(5, b"head", wait=wait))
    assert session.sent == ([] if wait else [Receipt(5, ReceiptCode.RECEIVED)])
    job = desk.begin()
    assert (job.request, job.waits, job.size, job.owner) == (5, wait, 4, session.client_id)


@pytest.mark.parametrize("kind", [Init, Execute])
def test_client_is_not_read_while_its_line_is_full(desk: Desk, session: Session, kind: Any) -> None:
    """Whatever filled it; another client is read on."""
    other = Session(b"b")
    desk.take(other, Execute(1, b""))
    desk.take(session, *(kind(number, b"") for number in range(1, MOST)))
    assert session.paused == 0
    desk.take(session, kind(MOST, b""))
    assert (session.paused, other.paused) == (1, 0)


@pytest.mark.parametrize("kind", [Init, Execute])
def test_request_is_refused_where_the_memory_is_used_up(session: Session, kind: Any) -> None:
    """In words, and nothing of it is kept."""
    desk = Desk(memory=2**18)
    desk.budget.unsent = 2**18
    desk.take(Session(b"b"), Execute(1, b""))  # there is room for one
    desk.take(session, kind(2, bytes(2**15)))
    assert session.refusals == [(2, Reason.OVERLOAD, NO_ROOM)]
    assert desk.jobs.queued() == 1
    assert session.paused == 0


def test_execute_is_refused_while_there_will_be_no_tasks(desk: Desk, session: Session) -> None:
    """An init that waits or runs will bring some, and so does an init file."""
    desk.engine.initialized = False
    desk.take(session, Execute(1, b""))
    assert session.refusals == [(1, Reason.NOT_INITIALIZED, NO_TASKS)]
    desk.take(session, Init(2, b""), Execute(3, b""))
    assert desk.begin().kind is Kind.INIT
    desk.take(session, Execute(4, b""))
    assert len(session.refusals) == 1
    desk.jobs.taken = None
    desk.jobs.clear()
    desk.jobs.push(Job(Kind.EXEC, None, Execute(5, b""), False), b"o")
    desk.begin()
    desk.take(session, Execute(6, b""))  # what runs is no init
    assert session.refusals[1:] == [(6, Reason.NOT_INITIALIZED, NO_TASKS)]
    session.sent.clear()
    with_file = Desk(has_init_file=True)
    with_file.engine.initialized = False
    with_file.take(session, Execute(5, b""))
    assert session.refusals == []


def test_execute_is_queued_when_the_init_ended_as_it_was_looked_for(
    desk: Desk, session: Session
) -> None:
    """It was in neither place then, but there are tasks."""

    class EndsMeanwhile:
        looks = iter([False, True])

        @property
        def initialized(self) -> bool:
            return next(self.looks)

    desk.requests._engine = EndsMeanwhile()  # type: ignore[assignment]
    desk.take(session, Execute(1, b""))
    assert desk.jobs.queued() == 1


@pytest.mark.parametrize("message", [Init(1, b"", codec=9), Execute(1, b"", codec=9)])
def test_codec_that_is_not_allowed_is_refused(
    desk: Desk, session: Session, message: Message
) -> None:
    """Before anything of it is queued; an exit may come without a payload."""
    desk.take(session, message)
    desk.take(session, Execute(2, b"", codec=CODEC_NONE))
    assert [(each[0], each[1]) for each in session.refusals] == [
        (1, Reason.CODEC),
        (2, Reason.CODEC),
    ]
    assert desk.jobs.queued() == 0
    desk.take(session, Exit(3, b"", codec=CODEC_NONE))
    assert len(session.refusals) == 2


def _chain(serial: int) -> bytes:
    return encode_extensions({Extension.CHAIN: ENTRY.pack(INCARNATION, serial)})


def test_request_that_would_wait_for_itself_is_refused(desk: Desk, session: Session) -> None:
    """Its chain holds the call that runs; one that nobody waits for may come."""
    desk.take(session, Execute(1, b"", wait=True))
    desk.begin()
    desk.take(session, Execute(2, b"", wait=True, extensions=_chain(6)))
    desk.take(session, Execute(3, b"", wait=False, extensions=_chain(7)))
    desk.take(session, Execute(4, b"", wait=True, extensions=_chain(7)))
    assert session.refusals == [(4, Reason.CALLING_SELF, CALLS_ITSELF)]
    # A job's size is what the server keeps for it: its extensions, and its chain for itself.
    waiting = desk.jobs.find(session.client_id, 2)
    assert waiting is not None
    assert waiting.size == len(_chain(6)) + ENTRY.size


def _grows(request: object, serial: int) -> Status:
    chain = ENTRY.pack(INCARNATION, serial).hex()
    return Status(9, json.dumps({"call": request, "chain": chain}))


def test_chain_that_grows_is_that_of_the_call_which_it_is_told_of(
    desk: Desk, session: Session
) -> None:
    """Whether it runs or waits; another client may use the same number."""
    desk.take(session, *(Execute(number, b"", wait=True) for number in (1, 2)))
    running = desk.begin()
    waiting = desk.jobs.find(session.client_id, 2)
    assert waiting is not None
    stranger = Session(b"s")
    desk.take(stranger, _grows(1, 5), _grows(2, 5))
    assert (running.chain, waiting.chain) == (b"", b"")
    desk.take(session, _grows(1, 5), _grows(2, 6), _grows(3, 4))
    assert running.chain == ENTRY.pack(INCARNATION, 5)
    assert waiting.chain == ENTRY.pack(INCARNATION, 6)
    desk.take(session, _grows(1, 7), _grows(2, 7))  # itself: one runs, the other waits no more
    assert session.refusals == [(2, Reason.CALLING_SELF, CALLS_ITSELF)]
    assert desk.jobs.find(session.client_id, 2) is None


@pytest.mark.parametrize("request_id", ["1", [1], 1.0, True, None])
def test_chain_of_what_is_no_request_breaks_the_protocol(
    desk: Desk, session: Session, request_id: object
) -> None:
    """A request has a number."""
    with pytest.raises(RemoteProtocolError):
        desk.take(session, _grows(request_id, 5))
    assert session.refusals[0][1] is Reason.PROTOCOL


def test_exits_are_answered_where_they_are_too_many_or_too_late(
    desk: Desk, session: Session
) -> None:
    """The first has its turn, two are kept; once the server has ended, they have what they want."""
    desk.take(session, *(Exit(number, b"") for number in range(1, 5)))
    assert session.refusals == [(4, Reason.OVERLOAD, NO_ROOM)]
    desk.take(session, Execute(5, b""))
    assert session.refusals[1:] == [(5, Reason.NOT_STARTED, SHUTTING_DOWN)]
    desk.ending.close()
    desk.take(session, Exit(6, b""))
    assert session.sent[-1] == Receipt(6, ReceiptCode.RECEIVED)


Act = Callable[[Desk, Session], None]

STAGES: dict[Stage, Act] = {
    Stage.WITHDRAWN: lambda desk, session: desk.take(session, Execute(1, b"", wait=True)),
    Stage.QUEUED: lambda desk, session: desk.take(session, Execute(1, b"")),
    Stage.ENDING: lambda desk, session: desk.take(session, Exit(1, b"")),
    Stage.RUNNING: lambda desk, session: (
        desk.take(session, Execute(1, b"")),
        desk.begin(),
    )[0],
    Stage.DEFERRED: lambda desk, session: desk.outbox.deferred.update(
        {(session.client_id, 1): None}  # type: ignore[dict-item]
    ),
    Stage.UNKNOWN: lambda desk, session: None,
}


@pytest.mark.parametrize("stage", list(Stage))
def test_cancel_and_status_say_how_far_a_request_is(
    desk: Desk, session: Session, stage: Stage
) -> None:
    """To its own client; a Status withdraws nothing."""
    STAGES[stage](desk, session)
    session.sent.clear()
    stranger = Session(b"s")
    desk.take(stranger, Cancel(8, 1), Status(9, '{"call": 1}'))
    assert [stage_of(each.text) for each in stranger.sent] == [Stage.UNKNOWN] * 2
    desk.take(session, Status(8, '{"call": 1}'), Cancel(9, 1), Status(10, '{"call": "1"}'))
    asked, cancelled, wrong = [stage_of(each.text) for each in session.sent]
    assert asked is (Stage.QUEUED if stage is Stage.WITHDRAWN else stage)
    assert (cancelled, wrong) == (stage, Stage.UNKNOWN)
    desk.take(session, Status(11, '{"call": [1]}'))
    assert stage_of(session.sent[-1].text) is Stage.UNKNOWN


def test_status_of_a_call_says_which_task_keeps_it_waiting(desk: Desk, session: Session) -> None:
    """Whose it is, as that client sees it; nothing where none runs."""
    stranger = Session(b"s")
    for each in (session, stranger):
        desk.take(each, Execute(1, b""), Status(2, '{"call": 1}'))
        assert runs_in(each.sent[-1].text) is None
    desk.begin()
    for each, runs in ((session, Runs.OWN), (stranger, Runs.OTHER)):
        desk.take(each, Status(3, '{"call": 1}'))
        assert runs_in(each.sent[-1].text) is runs
    desk.take(stranger, Cancel(4, 1))
    text = stranger.sent[-1].text
    assert (stage_of(text), runs_in(text)) == (Stage.QUEUED, Runs.OTHER)


def test_request_that_an_engine_runs_elsewhere_is_running(desk: Desk, session: Session) -> None:
    """The task thread has done with it; it is no other client's."""
    desk.take(session, Execute(1, b""))
    job = desk.begin()
    desk.worker._abroad.went(job, 7)
    desk.jobs.taken = None
    stranger = Session(b"s")
    desk.take(session, Status(2, '{"call": 1}'))
    desk.take(stranger, Status(2, '{"call": 1}'))
    stages = [stage_of(each.sent[-1].text) for each in (session, stranger)]
    assert stages == [Stage.RUNNING, Stage.UNKNOWN]


def test_status_describes_the_server(desk: Desk, session: Session) -> None:
    """The keys stand in the protocol."""
    desk.take(session, Execute(1, b""), Status(2))
    answer = json.loads(session.sent[-1].text)
    assert {key: answer[key] for key in ("initialized", "busy", "queued", "clients", "ending")} == {
        "initialized": True,
        "busy": False,
        "queued": 1,
        "clients": 3,
        "ending": False,
    }
    assert answer.keys() >= {"version", "pid", "unseen_failures", "last_unseen_failure"}
    desk.interrupted = True  # a signal that waits until the task has run
    desk.take(session, Status(3))
    assert json.loads(session.sent[-1].text)["ending"] is True


WRONG = [
    Status(1, "[]"),
    Modules(1, "{"),
    Modules(1, '{"modules": [1]}'),
    Execute(1, b"", extensions=b"\xff"),
]


@pytest.mark.parametrize("message", WRONG)
def test_client_that_breaks_the_protocol_is_told_how(
    desk: Desk, session: Session, message: Message
) -> None:
    """And raises in its session, which closes it."""
    with pytest.raises(RemoteProtocolError):
        desk.take(session, message)
    (refusal,) = session.refusals
    assert refusal[:2] == (1, Reason.PROTOCOL)
    assert isinstance(session.sent[-1], Goodbye)


def test_question_for_a_status_is_refused_unread_where_it_is_too_long(
    desk: Desk, session: Session
) -> None:
    """All clients would wait while it is parsed."""
    padding = " " * (LONGEST_STATUS - len('{"call": 1}'))
    desk.take(session, Status(1, '{"call": 1}' + padding), Status(2, '{"call": 1} ' + padding))
    assert isinstance(session.sent[0], Status)
    assert session.refusals[0][:2] == (2, Reason.TOO_LARGE)


def test_modules_are_told_and_refused_where_they_are_too_many(desk: Desk, session: Session) -> None:
    """A question too long is to be asked in parts."""
    desk.take(session, Modules(1, modules_text(["json"])), Modules(2, "x" * (LONGEST_QUESTION + 1)))
    assert "json" in session.sent[0].text
    assert session.refusals[0][:2] == (2, Reason.TOO_LARGE)


def test_modules_are_refused_where_too_many_wait(
    desk: Desk, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a request is, in the same words."""
    monkeypatch.setattr(questions, "SLICE", 0.0)  # so that the first one stays
    names = ["x" * 50_000] * 15
    for request in range(1, 200):
        desk.take(session, Modules(request, modules_text(names)))
    refused, reason, text = session.refusals[0]
    assert (reason, text) == (Reason.OVERLOAD, NO_ROOM)
    assert 1 < refused * 15 * 50_000 < questions.MOST_ASKED


def test_ping_is_answered_and_goodbye_closes(desk: Desk, session: Session) -> None:
    """At once, whatever waits."""
    desk.take(session, Ping(1), Goodbye("bye"))
    assert (session.sent, session.closed) == ([Pong(1)], 1)
