"""The worker with the inline engine: a request goes in as bytes, its answers come out."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from bgpy.codec import failures, payload
from bgpy.codec.modules import Catalogue
from bgpy.engines.inline import InlineEngine, Load
from bgpy.errors import MessageTooLarge
from bgpy.memory import Payload
from bgpy.serving.ending import Ending, EndingState
from bgpy.serving.job import Job
from bgpy.serving.outbox import Outbox
from bgpy.serving.queue import JobQueue
from bgpy.serving.small import SmallRow
from bgpy.serving.worker import Worker
from bgpy.tasks.client_socket import ClientSocket, Deferred
from bgpy.tasks.current import TaskThread
from bgpy.tasks.engine import Finished
from bgpy.tasks.lifecycle import Kind, Outcome, Result
from bgpy.tasks.signatures import Functions
from bgpy.wire.frames import HEADER_SIZE
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
from bgpy.wire.small import REPLY, unpack_start
from tests.support.outlets import Outlet, small_job, through
from tests.support.packed import encode, encode_tasks
from tests.support.strikes import Struck, strike

Task = Callable[..., Any]


class Peer:
    """A client that keeps what it is sent; messages over `limit` bytes are refused."""

    client_id = b"c" * 16

    def __init__(self, limit: int = 2**20) -> None:
        self.limit = limit
        self.sent: list[Any] = []

    def send(self, message: Message) -> None:
        if len(repr(message)) > self.limit:
            raise MessageTooLarge("over the limit (max_message)")
        self.sent.append(message)

    def reply(self, request: int, packed: Payload, error: bool, more: bool) -> None:
        head, buffers, code = packed
        self.send(Reply(request, head, buffers, code=code, error=error))

    def send_small(self, piece: bytes, more: bool) -> None:
        start, length, request = unpack_start(piece)
        assert (start, length) == (REPLY, len(piece) - HEADER_SIZE)
        self.send(Reply(request, piece[HEADER_SIZE:]))

    def value(self) -> Any:
        """What the one message holds."""
        (message,) = self.sent
        assert isinstance(message, Reply)
        return payload.decode(message.head, message.buffers, message.code, "response")

    def failure(self) -> Exception:
        """What the one failure is rebuilt as."""
        (message,) = self.sent
        assert isinstance(message, Failure)
        _, _, name, text, traceback, head, buffers, _, code = message
        return failures.rebuild(name, text, traceback, head, buffers, code)


class Bench:
    """A worker with a queue and tasks of the test's."""

    def __init__(self, init_file: Load | None = None, small: bool = False) -> None:
        """With `small` what can be is a small job, whose road is shorter."""
        self.small = small
        self.engine = InlineEngine(Catalogue(), init_file)
        self.jobs = JobQueue(100, 2**20, lambda owner: None)
        self.later: list[Callable[[], None]] = []
        self.outbox = Outbox(self.later.append)
        self.ending = Ending(10, 2**20)
        self.exits = 0
        self.init_file_outcomes: list[Outcome] = []
        self.tasks_ran = 0
        self.more: list[bool] = []
        """Of each task that ran, whether another follows at once."""
        thread = TaskThread(b"i" * 16, None)
        self.worker = Worker(
            self.engine, self.jobs, self.outbox, self.ending, self, self._ran, thread
        )

    def _ran(self, more: object) -> None:
        self.tasks_ran += 1
        self.more.append(bool(more))

    def init_file_ran(self, outcome: Outcome) -> None:
        self.init_file_outcomes.append(outcome)

    def exit_ran(self, outcome: Outcome) -> None:
        self.exits += 1

    def has_tasks(self, exec_task: Task, exit_task: Task = lambda *_: None) -> None:
        """Give the engine tasks that need not travel."""
        functions = Functions(lambda: None, exec_task, exit_task)
        self.engine._tasks.handle(Kind.INIT, functions, through(Outlet()))
        self.engine.initialized = True

    def run(self, job: Job) -> None:
        """Have the worker take `job` and run it."""
        if job.kind is Kind.EXIT:
            self.ending.ask(job)
            self.worker.settle()
        else:
            self.jobs.push(job, job.owner)
        self.worker.work()
        assert self.jobs.taken is None

    def init(
        self,
        exec_task: Task,
        exit_task: Task = lambda client_socket, state, args: None,
        init_task: Task = lambda: 1,
    ) -> Peer:
        packed = encode_tasks((init_task, exec_task, exit_task), {}, {})
        peer = Peer()
        message = Init(1, packed.head, packed.buffers, payload.PICKLE, packed.code)
        self.run(Job(Kind.INIT, peer, message, False))
        return peer

    def execute(self, args: Any = None, wait: bool = True, limit: int = 2**20) -> Peer:
        packed = encode({} if args is None else args, "args")
        peer = Peer(limit)
        if packed.code or packed.buffers or not wait:
            message = Execute(2, packed.head, packed.buffers, payload.PICKLE, packed.code, wait)
            self.run(Job(Kind.EXEC, peer, message, wait))
        else:
            self.run(self.executes(peer, 2, packed.head))
        return peer

    def executes(self, peer: Peer, request: int, head: bytes) -> Job:
        """The job of an execute whose client waits."""
        if self.small:
            return small_job(self.outbox, peer, request, head)
        return Job(Kind.EXEC, peer, Execute(request, head, wait=True), True)

    def exit(self, wait: bool) -> Peer:
        packed = encode({}, "args")
        peer = Peer()
        message = Exit(3, packed.head, packed.buffers, payload.PICKLE, packed.code, wait)
        self.run(Job(Kind.EXIT, peer, message, wait))
        return peer


def test_worker_says_whether_another_task_follows_at_once() -> None:
    """As calls do that came together: who looks after each task does the most behind the last."""
    bench = Bench(small=True)
    bench.has_tasks(lambda client_socket, *_: client_socket.respond(1))
    row, packed = SmallRow(Peer()), encode({}, "args")
    jobs = [small_job(bench.outbox, Peer(), each, packed.head, row) for each in (1, 2, 3)]
    row.jobs.extend(jobs)
    for job in jobs:
        row.jobs.popleft()
        bench.worker.run_small(job)
    bench.execute()
    assert bench.more == [True, True, False, False]


ROADS = pytest.mark.parametrize("small", [False, True], ids=["general", "small"])


@pytest.fixture(params=[False, True], ids=["general", "small"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(small=request.param)


def test_run_initialises_once_when_two_clients_bring_tasks(bench: Bench) -> None:
    """The second one's tasks are not even rebuilt."""
    first = bench.init(lambda client_socket, state, args: None)
    second = Peer()
    bench.run(Job(Kind.INIT, second, Init(1, b"no pickle at all"), False))
    assert first.sent == [Receipt(1, ReceiptCode.INITIALIZED)]
    assert second.sent == [Receipt(1, ReceiptCode.ALREADY_INITIALIZED)]


def test_run_answers_with_what_the_task_responds_when_the_caller_waits(bench: Bench) -> None:
    """State, arguments and response make their way through a closure of the caller's."""
    factor = 10

    def exec_task(client_socket: Any, state: Any, args: Any) -> Any:
        client_socket.respond({"was": state, "args": args})
        return state * factor

    bench.init(exec_task)
    assert bench.execute({"x": 1}).value() == {"was": 1, "args": {"x": 1, "await_response": True}}
    assert bench.execute({"x": 2}).value()["was"] == 10


def test_run_marks_a_response_when_it_is_an_error(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """It is returned over there, not raised, and logged here."""

    def exec_task(client_socket: Any, state: Any, args: Any) -> None:
        client_socket.respond("no such thing", error=True)

    bench.init(exec_task)
    with caplog.at_level(logging.ERROR, "bgpy.server"):
        peer = bench.execute()
    assert peer.sent[0].error
    assert peer.value() == "no such thing"
    assert "no such thing" in caplog.text


def test_run_sends_nothing_when_nobody_waits(bench: Bench) -> None:
    """The receipt went out when the request came; a response is dropped."""

    def exec_task(client_socket: Any, state: Any, args: Any) -> None:
        assert args == {"await_response": False}
        client_socket.respond("for nobody")

    bench.init(exec_task)
    assert bench.execute(wait=False).sent == []


def test_run_fails_the_call_when_the_task_forgets_to_respond(bench: Bench) -> None:
    """The caller isn't left waiting."""
    bench.init(lambda client_socket, state, args: None)
    (message,) = bench.execute().sent
    assert (message.request, message.reason) == (2, Reason.NO_RESPONSE)


def test_run_answers_later_when_the_task_defers(bench: Bench) -> None:
    """Returning without a response is no mistake then."""
    kept: list[Deferred] = []
    bench.has_tasks(lambda client_socket, *_: kept.append(client_socket.defer()))
    peer = bench.execute()
    assert peer.sent == []
    assert set(bench.outbox.deferred) == {(peer.client_id, 2)}
    kept.pop().respond("later")
    assert peer.value() == "later"
    assert not bench.outbox.deferred


def test_run_raises_at_the_caller_what_the_task_raised(bench: Bench) -> None:
    """The exception's own type, with the traceback of the task and nothing of bgpy's."""

    def exec_task(client_socket: Any, state: Any, args: Any) -> None:
        raise KeyError("missing")

    bench.init(exec_task)
    error = bench.execute().failure()
    assert type(error) is KeyError
    assert error.args == ("missing",)
    assert "in exec_task" in str(error.__cause__)
    assert "engine.py" not in str(error.__cause__)


def test_run_goes_on_when_the_task_exits(bench: Bench) -> None:
    """`sys.exit` in a task ends the call, not the server."""

    def exec_task(client_socket: Any, state: Any, args: Any) -> None:
        raise SystemExit(3)

    bench.init(exec_task)
    (message,) = bench.execute().sent
    assert (message.reason, message.type_name, message.text) == (Reason.TASK, "SystemExit", "3")
    assert message.head == b""
    assert bench.execute().sent != []


@pytest.mark.parametrize("wait", [True, False])
def test_run_logs_a_failure_when_the_caller_has_its_response_already(
    bench: Bench, caplog: pytest.LogCaptureFixture, wait: bool
) -> None:
    """What comes after the response, or where nobody waits, is told in the log."""

    def exec_task(client_socket: Any, state: Any, args: Any) -> None:
        client_socket.respond("done")
        raise ValueError("afterwards")

    bench.init(exec_task)
    with caplog.at_level(logging.ERROR, "bgpy.server"):
        peer = bench.execute(wait=wait)
    assert [type(each) for each in peer.sent] == ([Reply] if wait else [])
    assert "ValueError: afterwards" in caplog.text


def test_run_lets_the_task_respond_otherwise_when_a_response_cannot_travel(bench: Bench) -> None:
    """The error names the part; nothing was sent."""

    def exec_task(client_socket: Any, state: Any, args: Any) -> None:
        import threading

        try:
            client_socket.respond({"lock": threading.Lock()})
        except TypeError as error:
            client_socket.respond(str(error))

    bench.init(exec_task)
    assert "response['lock']" in bench.execute().value()


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"no pickle", "args can't be rebuilt here"),
        (b"", "args can't be rebuilt here"),
        (pickle.dumps([1, 2]), "args must be a dict, not list"),
        (b"cno_such_module\nthing\n.", "no_such_module"),
    ],
    ids=["garbage", "nothing", "a list", "a missing module"],
)
def test_run_refuses_arguments_when_they_cannot_be_rebuilt(
    bench: Bench, head: bytes, text: str
) -> None:
    """The task doesn't run; the caller learns what is wrong."""
    bench.init(lambda client_socket, state, args: os._exit(1))
    peer = Peer()
    bench.run(Job(Kind.EXEC, peer, Execute(2, head, wait=True), True))
    (message,) = peer.sent
    assert message.reason == Reason.DECODE
    assert text in message.text


def test_run_refuses_tasks_when_they_take_other_parameters(bench: Bench) -> None:
    """The caller of `initialize` hears it, and may try again."""
    error = bench.init(lambda client_socket: None).failure()
    assert isinstance(error, TypeError)
    assert "exec_task must take three parameters" in str(error)
    assert bench.init(lambda *_: None).sent == [Receipt(1, ReceiptCode.INITIALIZED)]


def test_run_tells_what_init_task_raised_when_it_fails(bench: Bench) -> None:
    """There are no tasks then; a later one may bring them."""

    def init_task() -> None:
        raise OSError("no such device")

    assert isinstance(bench.init(lambda *_: None, init_task=init_task).failure(), OSError)
    assert not bench.engine.initialized
    (message,) = bench.execute().sent
    assert message.reason == Reason.NOT_INITIALIZED


@pytest.mark.parametrize("wait", [True, False])
def test_run_ends_with_the_exit_task_when_asked(bench: Bench, wait: bool) -> None:
    """Who waits gets the response, who doesn't the receipt that it was done."""
    bench.init(print, lambda client_socket, state, args: client_socket.respond(state))
    peer = bench.exit(wait)
    if wait:
        assert peer.value() == 1
    else:
        assert peer.sent == [Receipt(3, ReceiptCode.RECEIVED)]


@pytest.mark.parametrize("wait", [True, False])
def test_run_tells_what_the_exit_task_raised_when_it_fails(bench: Bench, wait: bool) -> None:
    """Also a caller that doesn't wait for a response hears of it."""

    def exit_task(client_socket: Any, state: Any, args: Any) -> None:
        raise ValueError("still open")

    bench.init(print, exit_task)
    assert str(bench.exit(wait).failure()) == "still open"


def test_run_tells_a_failure_in_short_when_it_is_too_large(bench: Bench) -> None:
    """Type and beginning get through where the whole is over the limit."""

    def exec_task(client_socket: Any, state: Any, args: Any) -> None:
        raise ValueError("x" * 10_000)

    bench.init(exec_task)
    (message,) = bench.execute(limit=2_000).sent
    assert message.type_name == "ValueError"
    assert message.text.startswith("xxxx")
    assert "max_message" in message.text


class Unprintable(Exception):
    """An exception that fails at everything."""

    def __str__(self) -> str:
        raise RuntimeError("can't be printed")

    __repr__ = __str__

    def __reduce__(self) -> Any:
        raise SystemExit("can't be pickled")


def test_run_goes_on_when_a_failure_cannot_be_told(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """What a user's exception does when it is looked at doesn't end the server."""

    def exec_task(client_socket: Any, state: Any, args: Any) -> None:
        raise Unprintable

    bench.init(exec_task)
    with caplog.at_level(logging.ERROR, "bgpy.server"):
        (message,) = bench.execute().sent
    assert message.type_name.endswith("Unprintable")


def test_worker_tells_what_runs_when_asked_meanwhile(bench: Bench) -> None:
    """The thread that polls tells a client that its call is running."""
    seen: list[Any] = []
    worker = bench.worker

    def look(client_socket: Any, state: Any, args: Any) -> None:
        thread = worker.thread
        assert thread.call is not None
        serial = thread.serial_of(thread.call)
        seen.extend([bench.jobs.taken, worker.is_running(serial), worker.is_running(serial + 1)])

    bench.has_tasks(look)
    bench.execute(wait=False)
    assert seen[0].request == 2
    assert seen[1:] == [True, False]
    assert not worker.is_running(1)
    assert bench.tasks_ran == 1


def test_worker_tells_of_what_can_not_be_read_before_the_client_hears_of_it(bench: Bench) -> None:
    """So a client that asks again at once finds the server as it is then."""
    bench.init(lambda client_socket, state, args: None)
    states: list[EndingState] = []

    class Looks(Peer):
        def send(self, message: Message) -> None:
            states.append(bench.ending.state)
            super().send(message)

    peer = Looks()
    bench.run(Job(Kind.EXIT, peer, Exit(3, b"no pickle at all"), False))
    assert states == [EndingState.SERVING]
    assert peer.sent[0].reason == Reason.DECODE
    assert bench.exits == 0


def test_worker_runs_an_init_file_when_it_has_one() -> None:
    """Its job comes from no client, so a response in it is dropped with a log line."""
    bench = Bench(lambda: Functions(lambda client_socket: 7, lambda *_: None, lambda *_: None))
    bench.run(Job(Kind.INIT, None, None, False))
    assert bench.init_file_outcomes == [Outcome(Result.DONE)]
    assert bench.engine.initialized


def _exit(request: int = 3, head: bytes = b"no pickle at all", wait: bool = False) -> Job:
    return Job(Kind.EXIT, Peer(), Exit(request, head, wait=wait), wait)


def _answers(job: Job) -> list[Any]:
    assert isinstance(job.peer, Peer)
    return [
        type(each).__name__ if isinstance(each, Receipt) else Reason(each.reason).name
        for each in job.peer.sent
    ]


def _until_idle(bench: Bench) -> None:
    while bench.jobs.count or bench.jobs.taken is not None:
        bench.worker.work()


def test_exit_behind_an_unreadable_one_ends_the_server(bench: Bench) -> None:
    """Who can't be read is told so; whoever has asked meanwhile has the next turn."""
    bench.init(lambda *_: None)
    unread, first, second = _exit(), _exit(4, encode({}, "args").head), _exit(5, wait=True)
    for job in (unread, first, second):
        bench.ending.ask(job)
        bench.worker.settle()
    _until_idle(bench)
    assert (_answers(unread), _answers(first), bench.exits) == (["DECODE"], ["Receipt"], 1)
    for job in bench.ending.close():
        bench.worker.refuse_ending(job)
    assert _answers(second) == ["NOT_STARTED"]


def test_interrupt_while_an_exit_waits_ends_the_server_though_it_is_unreadable(
    bench: Bench,
) -> None:
    """What is queued doesn't run; the exit task does, with the server's own arguments."""
    ran: list[Any] = []
    bench.has_tasks(lambda *_: ran.append("exec"), lambda *args: ran.append(args[2]))
    queued = Job(Kind.EXEC, Peer(), Execute(7, b"", wait=True), True)
    bench.jobs.push(queued, queued.owner)
    unread = _exit()
    bench.ending.ask(unread)
    bench.worker.settle()
    bench.worker.interrupted()
    bench.worker.interrupted()  # again, where it was struck
    _until_idle(bench)
    assert (_answers(queued), _answers(unread), bench.exits) == (["NOT_STARTED"], ["DECODE"], 1)
    assert ran == [{"await_response": False}]


def test_interrupt_ends_the_server_whose_exit_cannot_respond(bench: Bench) -> None:
    """The client's exit is over, and the server's own, which needs no response, is the last."""
    ran: list[bool] = []

    def exit_task(client_socket: ClientSocket, state: Any, args: Any) -> None:
        ran.append(args["await_response"])
        client_socket.respond(threading.Lock())

    bench.has_tasks(lambda *_: None, exit_task)
    asked = _exit(3, encode({}, "args").head, wait=True)
    bench.run(asked)
    assert (_answers(asked), bench.exits) == (["KEEPS_SERVING"], 0)
    assert bench.ending.state is EndingState.SERVING
    bench.worker.interrupted()
    _until_idle(bench)
    assert (ran, bench.exits) == ([True, False], 1)


class Elsewhere:
    """An engine that runs nothing until the test says so."""

    def __init__(self) -> None:
        self.initialized = True
        self.begun: list[tuple[Kind, ClientSocket]] = []

    def open(self, finished: Finished) -> None: ...

    def close(self) -> None: ...

    def run(
        self, kind: Kind, payload: Payload | None, client_socket: ClientSocket
    ) -> Outcome | None:
        if kind is Kind.EXIT:
            return Outcome(Result.DONE)
        self.begun.append((kind, client_socket))
        return None

    def run_small(self, head: bytes, client_socket: ClientSocket) -> Outcome | None:
        return self.run(Kind.EXEC, (head, (), False), client_socket)


def test_worker_ends_a_call_later_when_the_engine_runs_it_elsewhere(bench: Bench) -> None:
    """Meanwhile it is running; the exit waits for it, and it is answered once."""
    bench.engine = engine = Elsewhere()  # type: ignore[assignment]
    thread = TaskThread(b"i" * 16, None)
    worker = bench.worker = Worker(
        engine, bench.jobs, bench.outbox, bench.ending, bench, lambda more: None, thread
    )
    peers = [bench.execute(), bench.execute(wait=False)]
    owner = Peer.client_id
    assert worker.is_running(1)
    assert worker.is_abroad(owner, 2)
    exit_job = _exit(4, encode({}, "args").head)
    bench.run(exit_job)
    assert (_answers(exit_job), bench.exits) == ([], 0)
    for (_, client_socket), respond in zip(engine.begun, (True, False), strict=True):
        if respond:
            client_socket.respond("from afar")
        worker.finished(client_socket, Outcome(Result.DONE))
    assert peers[0].value() == "from afar"
    assert peers[1].sent == []
    assert not worker.is_running(1)
    _until_idle(bench)
    assert (_answers(exit_job), bench.exits) == (["Receipt"], 1)


@ROADS
def test_work_answers_each_call_wherever_it_is_struck(small: bool) -> None:
    """An exception between any two lines of bgpy's, outside of the task, costs one call at most.

    The call is run once at most, it has an answer, the next one runs, and no lock is left.
    """
    args = encode({}, "args").head
    for at in itertools.count():
        bench = Bench(small=small)
        ran: list[int] = []

        def exec_task(client_socket: Any, state: Any, args: Any, ran: list[int] = ran) -> None:
            ran.append(1)
            client_socket.respond("done")

        bench.has_tasks(exec_task)
        peers = [Peer(), Peer()]
        for peer in peers:
            bench.jobs.push(bench.executes(peer, 2, args), peer.client_id)
        through_before = False
        try:
            through_before = strike(at, bench.worker.work, within=("bgpy/serving", "bgpy/engines"))
        except Struck:
            pass
        while bench.jobs.count or bench.jobs.taken is not None:
            with contextlib.suppress(Struck):
                bench.worker.work()
        assert bench.jobs.taken is None, at
        assert len(ran) <= 2, at
        for peer in peers:
            assert peer.sent, f"struck at {at}, a call has no answer"
        assert not bench.jobs._lock.locked(), at
        if through_before:
            assert at > 40
            break


Twice = Callable[["Bench", Callable[..., None]], None]


def _strikes_in_run(bench: Bench, strike_once: Callable[..., None]) -> None:
    def then_strikes(run: Callable[..., Any]) -> Callable[..., Any]:
        def struck(*args: Any) -> Any:
            outcome = run(*args)
            strike_once()
            return outcome

        return struck

    worker = bench.worker
    worker._run, worker._run_small = then_strikes(worker._run), then_strikes(worker._run_small)


def _strikes_after_it(bench: Bench, strike_once: Callable[..., None]) -> None:
    bench.worker._ran = lambda more: strike_once()


@pytest.mark.parametrize(("kind", "small"), [*((kind, False) for kind in Kind), (Kind.EXEC, True)])
@pytest.mark.parametrize("where", [_strikes_in_run, _strikes_after_it])
def test_work_answers_a_call_that_is_struck_twice(kind: Kind, small: bool, where: Twice) -> None:
    """The second strike falls while the first is put right, wherever; the call carries one.

    An exit still ends the server, and the next call is served.
    """
    for at in itertools.count():
        bench = Bench(small=small)
        ran: list[int] = []
        bench.has_tasks(lambda *_, ran=ran: ran.append(1), lambda *_, ran=ran: ran.append(2))
        peer = Peer()
        head = encode({}, "args").head
        if kind is Kind.EXIT:
            bench.ending.ask(Job(kind, peer, Exit(3, head, wait=True), True))
            bench.worker.settle()
        else:
            init = Job(kind, peer, Init(3, b"not looked at"), False)
            execute = bench.executes(peer, 3, head)
            bench.jobs.push(init if kind is Kind.INIT else execute, peer.client_id)
        blows = iter([LookupError("the first blow")])

        def strike_once(blows: Any = blows) -> None:
            for blow in blows:
                raise blow

        where(bench, strike_once)
        through_before = True
        try:
            # The loop's own code is not counted, so that it is the same turn after turn.
            through_before = strike(at, bench.worker.work, within=("bgpy/serving",))
        except Struck:
            through_before = False
        while bench.jobs.count or bench.jobs.taken is not None:
            with contextlib.suppress(Struck):
                bench.worker.work()
        assert len(ran) <= 1, at
        assert peer.sent, f"struck at {at}, a call has no answer"
        # The last one: before the first line of an `except`, where no signal can strike.
        told = ("LookupError", "Struck", "RuntimeError")
        assert all(each.type_name.endswith(told) for each in peer.sent), at
        assert bool(bench.exits) is (kind is Kind.EXIT)
        if through_before:
            assert at > 30
            break


@pytest.mark.parametrize("kind", [Kind.EXEC, Kind.EXIT])
def test_interrupt_ends_a_started_call_that_strikes_have_left(bench: Bench, kind: Kind) -> None:
    """It is told what struck it, not that it never began; the server ends all the same."""
    bench.has_tasks(lambda *_: None)
    head = encode({}, "args").head
    peer = Peer()
    if kind is Kind.EXIT:
        bench.ending.ask(Job(kind, peer, Exit(3, head, wait=True), True))
        bench.worker.settle()
    else:
        bench.jobs.push(bench.executes(peer, 3, head), peer.client_id)
    strikes = iter([LookupError("one"), LookupError("two")])
    struck = lambda more=False: (_ for _ in ()).throw(next(strikes))  # noqa: E731
    bench.worker._ran = struck
    settle = bench.worker.settle
    bench.worker.settle = struck  # type: ignore[method-assign]
    with pytest.raises(LookupError, match="two"):
        bench.worker.work()
    bench.worker.settle, bench.worker._ran = settle, lambda more: None  # type: ignore[method-assign]
    bench.worker.interrupted()
    while bench.jobs.count or bench.jobs.taken is not None:
        bench.worker.work()
    (message,) = peer.sent
    assert (message.reason, message.text) == (Reason.TASK, "one")
    assert bench.exits == 1


def test_worker_tells_the_caller_when_the_end_of_its_call_cannot_be_sent(bench: Bench) -> None:
    """Whatever the user's exception does when it is looked at, or a handler meanwhile."""

    def exec_task(client_socket: Any, state: Any, args: Any) -> None:
        raise ValueError("no")

    bench.has_tasks(exec_task)
    describe = failures.describe
    with pytest.MonkeyPatch.context() as patch:
        strikes = iter([LookupError("struck")])

        def struck(error: BaseException) -> Any:
            for strike_ in strikes:
                raise strike_
            return describe(error)

        patch.setattr(failures, "describe", struck)
        peer = bench.execute()
    (message,) = peer.sent
    assert message.type_name.endswith("NoResponse")
    assert "log" in message.text


def test_worker_keeps_nothing_of_a_call_that_is_over_before_it_is_noted_elsewhere(
    bench: Bench,
) -> None:
    """An engine may tell the end before `run` has returned; an exit waits for nothing then."""

    class AtOnce(Elsewhere):
        def run(
            self, kind: Kind, payload: Payload | None, client_socket: ClientSocket
        ) -> Outcome | None:
            if super().run(kind, payload, client_socket) is None:
                client_socket.respond("before")
                bench.worker.finished(client_socket, Outcome(Result.DONE))
                return None
            return Outcome(Result.DONE)

    bench.worker = Worker(
        AtOnce(),
        bench.jobs,
        bench.outbox,
        bench.ending,
        bench,
        lambda more: None,
        TaskThread(b"i" * 16, None),
    )
    assert bench.execute().value() == "before"
    assert not bench.worker.is_abroad(Peer.client_id, 2)
    assert not bench.worker._abroad._early
    exit_job = _exit(4, encode({}, "args").head)
    bench.run(exit_job)
    assert (_answers(exit_job), bench.exits) == (["Receipt"], 1)


@pytest.mark.parametrize("noted", [True, False])
def test_call_that_is_struck_on_its_way_elsewhere_has_one_end(bench: Bench, noted: bool) -> None:
    """Where it was noted before, its own; else it fails now, and its end comes too late."""
    engine = Elsewhere()
    worker = bench.worker = Worker(
        engine,
        bench.jobs,
        bench.outbox,
        bench.ending,
        bench,
        lambda more: None,
        TaskThread(b"i" * 16, None),
    )
    went = worker._abroad.went

    def struck(*args: Any) -> None:
        if noted:
            went(*args)
        raise LookupError("struck")

    worker._abroad.went = struck  # type: ignore[method-assign]
    peer = bench.execute()
    assert bool(peer.sent) is not noted
    ((_, client_socket),) = engine.begun
    if noted:
        client_socket.respond("from afar")
    worker.finished(client_socket, Outcome(Result.DONE))
    if noted:
        assert peer.value() == "from afar"
    else:
        assert str(peer.failure()) == "struck"
    assert not worker.is_abroad(Peer.client_id, 2)
    assert not worker._abroad._early


def test_call_that_is_struck_when_it_has_been_answered_is_over(bench: Bench) -> None:
    """No failure is sent or counted: its task went well."""
    bench.has_tasks(lambda client_socket, *_: client_socket.respond("done"))
    strikes = iter([LookupError("struck")])
    bench.worker._ran = lambda more: [(_ for _ in ()).throw(each) for each in strikes][:0]
    assert bench.execute().value() == "done"
    assert bench.outbox.unseen == 0


def test_worker_runs_a_receipted_call_when_it_was_struck_before_it_began(bench: Bench) -> None:
    """A receipt says that it will run."""
    ran: list[int] = []
    bench.has_tasks(lambda *_: ran.append(1))
    job = Job(Kind.EXEC, Peer(), Execute(2, encode({}, "args").head), False)
    bench.jobs.push(job, job.owner)
    with pytest.raises(Struck):
        strike(2, bench.worker.work)
    _until_idle(bench)
    assert ran == [1]
