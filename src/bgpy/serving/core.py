"""A server: the listener, its sessions, the queue and the runner, on one reactor.

::

    CREATED ─ serve ─► SERVING ─ exit job or interrupt ─► ENDING ─► CLOSED

While it ends, what was queued before an exit message still runs; after an interrupt
it fails as not started. The listener closes before the sessions, so that a client
which sees its connection end knows that the port is free.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, NoReturn

from bgpy.codec.modules import Catalogue
from bgpy.codec.payload import PICKLE
from bgpy.config import Limits
from bgpy.errors import RemoteProtocolError, ServerGone
from bgpy.serving import outbox
from bgpy.serving.budget import Budget, fitted
from bgpy.serving.io.listener import Arrival, Listener
from bgpy.serving.io.reactor import Reactor
from bgpy.serving.io.transport import StreamTransport
from bgpy.serving.outbox import Job
from bgpy.serving.questions import LONGEST, Questions
from bgpy.serving.queue import JobQueue
from bgpy.serving.runner import Load, Runner
from bgpy.serving.sessions.acceptor import Acceptor
from bgpy.serving.sessions.audit import Audit
from bgpy.serving.sessions.session import LINGER, Session
from bgpy.system import processes
from bgpy.tasks import current
from bgpy.tasks.lifecycle import DONE, EXEC, Kind, Outcome, Result
from bgpy.version import __version__
from bgpy.wire.handshake import ServerHandshake, ServerTerms, Welcome, derive_key
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
    Status,
)

log = logging.getLogger("bgpy.server")

RECEIVE_BUFFER = 2**18
"""Bytes received at once, into one buffer that all clients share."""

_servers: weakref.WeakSet[ServerCore] = weakref.WeakSet()


class Events(NamedTuple):
    """What the owner of a server wants to know of its life."""

    initialized: Callable[[], None]
    """The init file's `init_task` has run (or there is none): the server is ready."""
    closing: Callable[[], None]
    """The last task has run; the port closes next."""
    in_child: Callable[[], None]
    """A task has forked: give back, in the child, what belongs to the parent."""
    chores: Callable[[], None]
    """Called about once a second while there is work."""


class ServerCore:
    """Serves the clients of `listener` until an exit message or `interrupt`."""

    def __init__(
        self,
        listener: Listener,
        token: str,
        limits: Limits,
        init_file: Load | None,
        events: Events,
        pid: int,
    ) -> None:
        """`pid` is that of the process if it ends with the server, else 0."""
        self._limits = limits = fitted(limits)
        self._events = events
        self._has_init_file = init_file is not None
        self._server_id = os.urandom(16)
        self._key = derive_key(token, self._server_id)
        self._terms = ServerTerms(limits.max_message, min(limits.max_buffers, 0xFFFF), 1 << PICKLE)
        self.welcome = Welcome(
            os.urandom(16),
            processes.boot_id(),
            processes.pid_namespace(),
            pid,
            sys.version_info[:3],
            __version__,
        )
        self._catalogue = Catalogue()
        self._runner = Runner(self._catalogue, init_file, self._unread)
        self._budget = Budget(limits.max_memory)
        self._jobs: JobQueue[Job] = JobQueue(
            limits.max_requests, limits.max_queued, self._drained, self._budget
        )
        self._reactor = Reactor(events.chores)
        self._questions = Questions(self._catalogue, self._reactor.change)
        self._audit = Audit()
        self._door = Acceptor(
            listener,
            limits,
            self._reactor,
            self._make_session,
            lambda peer, why: self._audit.ended(peer, b"", why),
        )
        self._shared = memoryview(bytearray(RECEIVE_BUFFER))
        self._ending = False
        self._failure: BaseException | None = None
        self.handlers: dict[type, Callable[[Session, Any], None]] = {
            Init: self._on_init,
            Execute: self._on_execute,
            Exit: self._on_exit,
            Ping: lambda session, message: session.send(Pong(message.request)),
            Status: self._on_status,
            Cancel: self._on_cancel,
            Modules: self._on_modules,
            Goodbye: lambda session, message: session.close(),
        }
        """What acts on the messages of authenticated clients."""
        _servers.add(self)

    # Life

    def serve(self) -> None:
        """Serve in this thread until the server ends; everything is closed when it returns.

        Raises what an init file's tasks raised: the server was never ready then.
        """
        self._door.open()
        try:
            if self._has_init_file:
                self._jobs.push(Job(Kind.INIT, None, None, False), b"")
            else:
                self._events.initialized()
            with current.serving(self.welcome.incarnation):
                self._reactor.serve(self._jobs, self._work, self._end_early)
        finally:
            self._close()
        if self._failure is not None:
            raise self._failure

    def interrupt(self) -> None:
        """End soon: the task that runs finishes, what is queued fails, the exit task runs.

        May be called from any thread and from a signal handler.
        """
        self._reactor.interrupt()

    @property
    def wakeup_fd(self) -> int:
        """For `signal.set_wakeup_fd`."""
        return self._reactor.wakeup_fd

    def close_in_child(self) -> None:
        """In a forked child: give back every descriptor without a word to anyone."""
        self._runner.in_child = True
        self._door.close_in_child()
        self._reactor.close_in_child()
        self._events.in_child()

    def _close(self) -> None:
        self._ending = True
        for job in self._jobs.clear():
            self._refuse_ending(job)
        self._events.closing()
        busy = lambda: any(session.unsent for session in self._door.sessions)  # noqa: E731
        self._reactor.drain(busy, self._limits.drain_timeout)
        self._door.close()
        for session in list(self._door.sessions):
            session.close(farewell="the server ended")
        self._reactor.drain(lambda: bool(self._door.sessions), LINGER)
        for session in list(self._door.sessions):
            session.drop(session.outcome)
        self._audit.tell_left_out()
        self._reactor.close()
        _servers.discard(self)

    # The task thread

    def _work(self) -> None:
        job = self._jobs.pop()
        if job is None:
            return
        try:
            outcome = self._runner.run(job)
        except Exception as error:
            outcome = self._runner.broken_off(job, error)
        if outcome is DONE and job.kind is EXEC:
            return
        if outcome.result is Result.UNREADABLE and job.peer is not None:
            return
        if job.kind is Kind.EXIT:
            self._reactor.stop()
        elif job.peer is None:
            self._init_file_ran(outcome)

    def _unread(self, job: Job) -> None:
        """Nothing ran: a server that was asked to end in a way it can't read goes on."""
        if job.kind is Kind.EXIT and job.peer is not None:
            self._ending = False

    def _end_early(self) -> None:
        if self._ending:
            return
        log.info("asked to end; queued requests that won't run: %d", self._jobs.queued())
        self._ending = True
        for job in self._jobs.clear():
            self._refuse_ending(job)
        self._jobs.push_last(Job(Kind.EXIT, None, None, False))

    def _init_file_ran(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._failure = outcome.error
            self._reactor.stop()
            return
        try:
            self._events.initialized()
        except OSError as error:
            # Whoever started it is gone, and nobody knows of it: end through the exit task.
            self._failure = error
            self._end_early()

    def _refuse_ending(self, job: Job) -> None:
        if job.kind is Kind.EXIT and not job.waits and job.peer is not None:
            job.peer.send(Receipt(job.request, ReceiptCode.RECEIVED))
        else:
            error = ServerGone("the server ends: this request was not started and never will be")
            outbox.send_failure(job, error)

    # The thread that polls

    def _make_session(self, arrival: Arrival) -> Session:
        stream, peer, binding = arrival
        handshake = ServerHandshake(
            self._server_id, os.urandom(32), self._key, self._terms, self.welcome, binding
        )
        transport = StreamTransport(stream)
        limits, reactor, shared = self._limits, self._reactor, self._shared
        return Session(transport, peer, handshake, limits, reactor, self, shared, self._budget)

    def queued(self, client_id: bytes) -> int:
        """Bytes of what waits for a client."""
        return self._jobs.size_of(client_id)

    def proved(self, session: Session) -> None:
        """Note that a client has proved the token."""
        self._door.proved(session)

    def clogged(self, session: Session) -> None:
        """Let no more run for a client that doesn't take its replies."""
        self._jobs.hold(session.client_id)

    def cleared(self, session: Session) -> None:
        """Go on for a client that has taken its replies."""
        self._jobs.release(session.client_id)

    def _drained(self, owner: bytes) -> None:
        """Read a client again whose requests were too many; called by the task thread too."""
        self._reactor.change(partial(self._door.resume, owner))

    def closed(self, session: Session) -> None:
        """Forget a session that has closed."""
        self._audit.ended(session.peer, session.client_id, session.outcome)
        self._jobs.leave(session.client_id)
        self._door.closed(session)

    def _on_execute(self, session: Session, message: Execute) -> None:
        request, _, _, codec, _, wait, _ = message
        job = Job(EXEC, session, message, wait)
        if (self._ending or codec != PICKLE) and not self._takes(session, message, job):
            return
        if self._runner.tasks.functions is None and not self._may_be_initialized():
            session.send(
                Failure(
                    request,
                    Reason.NOT_INITIALIZED,
                    text="the server has no tasks yet: call initialize() first",
                )
            )
            return
        if self._jobs.push(job, session.client_id):
            session.pause()
        if not wait:
            session.send(Receipt(request, ReceiptCode.RECEIVED))

    def _on_init(self, session: Session, message: Init) -> None:
        job = Job(Kind.INIT, session, message, False)
        if self._takes(session, message, job) and self._jobs.push(job, session.client_id):
            session.pause()

    def _on_exit(self, session: Session, message: Exit) -> None:
        job = Job(Kind.EXIT, session, message, message.wait)
        if self._takes(session, message, job):
            log.info("%s asked the server to end", session.peer)
            self._ending = True
            if not self._jobs.push_last(job):
                self._refuse_ending(job)

    def _takes(self, session: Session, message: Init | Execute | Exit, job: Job) -> bool:
        """Whether a request may be queued; if not, it has been answered."""
        if self._ending:
            self._refuse_ending(job)
            return False
        plain_exit = message.codec == CODEC_NONE and job.kind is Kind.EXIT
        if message.codec != PICKLE and not plain_exit:
            text = f"this server does not allow codec {message.codec}"
            session.send(Failure(message.request, Reason.CODEC, text=text))
            return False
        return True

    def _may_be_initialized(self) -> bool:
        """Whether there will be tasks when what is queued before has run."""
        awaited = self._has_init_file or self._jobs.holds(Kind.INIT) or self._runner.runs(Kind.INIT)
        # Asked once more: it may have run while this looked for it.
        return awaited or self._runner.tasks.initialized

    def _on_status(self, session: Session, message: Status) -> None:
        asked = _asked(session, message)
        if "call" in asked:
            answer: dict[str, object] = {"call": self._stage(session, asked["call"])}
        else:
            answer = {
                "version": __version__,
                "pid": os.getpid(),
                "initialized": self._runner.tasks.initialized,
                "busy": self._runner.current is not None,
                "queued": self._jobs.queued(),
                "clients": len(self._door.sessions),
                "ending": self._ending,
            }
        session.send(Status(message.request, json.dumps(answer)))

    def _on_cancel(self, session: Session, message: Cancel) -> None:
        withdrawn = self._jobs.withdraw(session.client_id, message.target)
        stage = "withdrawn" if withdrawn else self._stage(session, message.target)
        session.send(Status(message.request, json.dumps({"call": stage})))

    def _stage(self, session: Session, request: object) -> str:
        job = self._runner.current
        if job is not None and (job.owner, job.request) == (session.client_id, request):
            return "running"
        return "queued" if self._jobs.has(session.client_id, request) else "unknown"

    def _on_modules(self, session: Session, message: Modules) -> None:
        if len(message.text) > LONGEST:
            text = f"a question for modules has at most {LONGEST} characters: ask in parts"
            return session.send(Failure(message.request, Reason.TOO_LARGE, text=text))
        names = _asked(session, message).get("modules")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            _refuse(session, message, "a question for modules must hold a list of their names")
        self._questions.ask(session, message.request, names)


def _asked(session: Session, message: Status | Modules) -> dict[str, Any]:
    try:
        asked = json.loads(message.text)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        _refuse(session, message, "a question must be a JSON object")
    return asked


def _refuse(session: Session, message: Message, text: str) -> NoReturn:
    """Tell the client how it broke the protocol, and raise it."""
    session.send(Failure(message.request, Reason.PROTOCOL, text=text))
    session.send(Goodbye(text))
    raise RemoteProtocolError(text)


def _close_in_child() -> None:
    for server in list(_servers):
        server.close_in_child()
    _servers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
