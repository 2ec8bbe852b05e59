"""A server: the listener, its sessions, the queue and its engine, on one reactor.

::

    session ─► Requests ─► JobQueue ─► Worker ─► Engine      who decides what
       ▲ └───► Road ───────────┴─ taken ──┤
       └────────────── Outbox ◄───────────┘

While it ends (`bgpy.serving.ending`), what was queued before an exit message still runs; after
an interrupt only what has its receipt does, and the rest fails as not started. The listener
closes before the sessions, so that a client which sees its connection end knows that the port
is free.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from time import monotonic
from typing import NamedTuple

from bgpy.codec import failures
from bgpy.codec.modules import Catalogue
from bgpy.codec.payload import PICKLE
from bgpy.config import Limits
from bgpy.serving.budget import Budget, fitted
from bgpy.serving.ending import Ending
from bgpy.serving.io.listener import Arrival, Listener
from bgpy.serving.io.reactor import Reactor
from bgpy.serving.io.transport import StreamTransport
from bgpy.serving.job import Job
from bgpy.serving.outbox import Outbox
from bgpy.serving.questions import MOST_ASKED, Questions
from bgpy.serving.queue import JobQueue
from bgpy.serving.requests import Requests, ServerParts
from bgpy.serving.road import Road
from bgpy.serving.sessions.acceptor import Acceptor
from bgpy.serving.sessions.audit import Audit
from bgpy.serving.sessions.lingering import LINGER, QUIET
from bgpy.serving.sessions.owner import SessionContext
from bgpy.serving.sessions.session import Session
from bgpy.serving.worker import Worker
from bgpy.system import processes
from bgpy.system.shielded_log import shield
from bgpy.system.sockets import RECEIVE_BUFFER
from bgpy.tasks import current
from bgpy.tasks.client_socket import ClientSocket
from bgpy.tasks.engine import Engine
from bgpy.tasks.lifecycle import Kind, Outcome
from bgpy.version import __version__
from bgpy.wire.handshake import ServerHandshake, ServerTerms, Welcome, derive_key

shield("bgpy.server")

_servers: weakref.WeakSet[ServerCore] = weakref.WeakSet()


class Events(NamedTuple):
    """What the owner of a server wants to know of its life."""

    initialized: Callable[[], None]
    """The init file's `init_task` has run (or there is none): the server is ready."""
    ran: Callable[[object], None]
    """A task has run: put back what it may have taken from the server. In the task thread. Called
    with what is true if another task of the same client's follows at once."""
    closing: Callable[[], None]
    """The last task has run; the port closes next."""
    port_closed: Callable[[], None]
    """The port is closed; the connections close next."""
    in_child: Callable[[], None]
    """A task has forked: give back, in the child, what belongs to the parent."""
    chores: Callable[[], None]
    """Called about once a second while there is work."""
    signalled: Callable[[int], None]
    """A signal has arrived, with this number; in the thread that polls."""


class ServerCore:
    """Serves the clients of `listener` until an exit message or `interrupt`."""

    def __init__(
        self,
        listener: Listener,
        token: str,
        limits: Limits,
        engine: Engine,
        catalogue: Catalogue,
        has_init_file: bool,
        events: Events,
        pid: int,
    ) -> None:
        """`engine` runs the tasks; with `has_init_file` it has some before any client comes.

        `catalogue` is that of the modules which the engine has installed. `pid` is that of
        the process if it ends with the server, else 0.
        """
        self._limits = limits = fitted(limits)
        self._events = events
        self._engine = engine
        self._has_init_file = has_init_file
        self._server_id = os.urandom(16)
        self._key = derive_key(token, self._server_id)
        self._terms = ServerTerms(limits.max_message, min(limits.max_buffers, 0xFFFF), 1 << PICKLE)
        self.welcome = _welcome(pid)
        self._budget = Budget(limits.max_memory)
        self._reactor = Reactor(events.chores, events.signalled)
        self._parts = parts = self._make_parts(catalogue)
        self._jobs, self._worker = parts.jobs, parts.worker
        self._audit = Audit()
        self._door = Acceptor(
            listener,
            limits,
            self._reactor,
            self._make_session,
            lambda peer, why: self._audit.ended(peer, b"", why),
        )
        clients = lambda: len(self._door.sessions)  # noqa: E731
        interrupted = lambda: self._reactor.interrupted  # noqa: E731
        requests = Requests(parts, self.welcome.incarnation, has_init_file, clients, interrupted)
        self.handlers = requests.handlers
        """What acts on the messages of authenticated clients."""
        self.road = Road(parts.jobs, engine, parts.outbox, parts.ending, limits.max_message)
        shared = bytearray(RECEIVE_BUFFER)
        self._context = SessionContext(
            self, limits, self._reactor, self._budget, shared, memoryview(shared)
        )
        self._has_exited = False
        self._dropped = 0  # how often something came from a session that lingers
        self._failure: BaseException | None = None
        self.start_failure = ""
        """What the init file, or its `init_task`, raised, in words; empty if nothing."""
        self.exit_failure = ""
        """What the exit task raised, in words; empty if it raised nothing, or has not run."""
        _servers.add(self)

    def _make_parts(self, catalogue: Catalogue) -> ServerParts:
        limits, change = self._limits, self._reactor.change
        most, most_bytes = limits.max_requests, limits.max_queued
        jobs: JobQueue[Job] = JobQueue(most, most_bytes, self._drained, self._budget)
        outbox = Outbox(change)
        ending = Ending(most, most_bytes)
        thread = current.TaskThread(self.welcome.incarnation, None)
        worker = Worker(self._engine, jobs, outbox, ending, self, self._events.ran, thread)
        questions = Questions(catalogue, change, min(MOST_ASKED, limits.max_memory // 4))
        return ServerParts(self._engine, jobs, outbox, ending, worker, questions)

    # Life

    def serve(self) -> None:
        """Serve in this thread until the server ends; everything is closed when it returns.

        Raises what an init file's tasks raised: the server was never ready then.
        """
        self._door.open()
        try:
            with current.serving(self.welcome.incarnation) as thread:
                self._worker.thread = thread
                self._engine.open(self._finished)
                if self._has_init_file:
                    self._jobs.push(Job(Kind.INIT, None, None, False), b"")
                else:
                    self._events.initialized()
                worker = self._worker
                self._reactor.serve(self._jobs, worker.work, worker.run_small, worker.interrupted)
        finally:
            self._close()
        if self._failure is not None:
            raise self._failure

    def interrupt(self) -> None:
        """End soon: the task that runs finishes, what is queued fails, the exit task runs.

        May be called from any thread and from a signal handler.
        """
        self._reactor.interrupt()

    def refuse_new(self) -> None:
        """Reject new requests from now on, without waiting for the task that runs.

        In the thread that polls; `interrupt` does the rest in the task thread.
        """
        self._parts.ending.interrupt()

    def change(self, change: Callable[[], None]) -> None:
        """Have the thread that polls call `change` soon; from any thread or a signal handler."""
        self._reactor.change(change)

    @property
    def running(self) -> Kind | None:
        """The kind of the task that runs in the task thread, if one does; from any thread."""
        job = self._jobs.taken
        return job.kind if job is not None and self._worker.thread.call is not None else None

    @property
    def wakeup_fd(self) -> int:
        """For `signal.set_wakeup_fd`."""
        return self._reactor.wakeup_fd

    def close_in_child(self) -> None:
        """In a forked child: give back every descriptor without a word to anyone."""
        self._worker.in_child = True
        self._door.close_in_child()
        self._reactor.close_in_child()
        self._events.in_child()

    def _close(self) -> None:
        """End in steps, each of which is taken whatever the ones before it have raised."""
        with ExitStack() as steps:  # the last one first
            steps.callback(self._give_back)
            steps.callback(self._say_goodbye)
            steps.callback(self._events.port_closed)
            steps.callback(self._door.close)
            steps.callback(self._answer_the_rest)
            self._events.closing()

    def _answer_the_rest(self) -> None:
        """Give all that has come an answer, and have the answers leave."""
        self._worker.end_struck()
        self._jobs.spill()
        self._parts.outbox.end_deferred()
        for job in [*self._parts.ending.close(), *self._jobs.clear()]:
            self._worker.refuse_ending(job)
        # Once at least: what was left to be done is done, and what has come is refused.
        first = iter((True,))
        busy = lambda: next(first, False) or any(each.unsent for each in self._door.sessions)  # noqa: E731
        self._reactor.drain(busy, self._limits.drain_timeout)

    def _say_goodbye(self) -> None:
        unanswered = {owner for owner, _ in self._parts.outbox.deferred.copy()}
        for session in list(self._door.sessions):
            # After exit_task nothing is left to run; a deferred answer may be on its way.
            all_answered = self._has_exited and session.client_id not in unanswered
            session.close(farewell="the server ended", all_answered=all_answered)
        self._linger()
        for session in list(self._door.sessions):
            session.drop(session.outcome)
        self._audit.tell_left_out()

    def _give_back(self) -> None:
        self._reactor.close()
        self._engine.close()
        _servers.discard(self)

    def _linger(self) -> None:
        """Let the clients read what they were told, as long as that helps.

        Those that wait for something, or send, end their connections when they have read it. The
        others are idle: they aren't waited for, once nothing is under way any more.
        """
        until, before = monotonic() + LINGER, -1
        while (left := until - monotonic()) > 0 and (
            self._dropped != before or any(session.untold for session in self._door.sessions)
        ):
            before = self._dropped
            self._reactor.drain(lambda: bool(self._door.sessions), min(QUIET, left))
            if not self._door.sessions:
                return

    # What the worker tells, in the task thread

    def exit_ran(self, outcome: Outcome) -> None:
        """The exit task has run, or failed: the server ends."""
        self._has_exited = True
        self._reactor.stop()
        if outcome.error is not None:
            self.exit_failure = _in_words(outcome.error)

    def init_file_ran(self, outcome: Outcome) -> None:
        """The init file's `init_task` has run, or failed."""
        if outcome.error is not None:
            self._failure = outcome.error
            self.start_failure = _in_words(outcome.error)
            self._reactor.stop()
            return
        if self._reactor.interrupted:
            return  # it ends, and never was ready
        try:
            self._events.initialized()
        except OSError as error:
            # The process that started it is gone, and no other knows of it: run the exit task.
            self._failure = error
            self._reactor.interrupt()

    def _finished(self, client_socket: ClientSocket, outcome: Outcome) -> None:
        """The engine has run a call elsewhere; from any thread."""
        self._reactor.change(partial(self._worker.finished, client_socket, outcome))

    # What sessions tell, in the thread that polls

    def _make_session(self, arrival: Arrival) -> Session:
        stream, peer, binding = arrival
        handshake = ServerHandshake(
            self._server_id, os.urandom(32), self._key, self._terms, self.welcome, binding
        )
        return Session(StreamTransport(stream), peer, handshake, self._context)

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
        """Let requests run again for a client that has taken its replies."""
        self._jobs.release(session.client_id)

    def _drained(self, owner: bytes) -> None:
        """Read a client again whose requests were too many; called by the task thread too."""
        self._reactor.change(partial(self._door.resume, owner))

    def dropped(self, session: Session) -> None:
        """Note that something came from a session that lingers."""
        self._dropped += 1

    def closed(self, session: Session) -> None:
        """Forget a session that has closed."""
        if not session.client_id:
            self._reactor.tend()  # it may have found no token, if the server's folder is gone
        self._parts.questions.leave(session)
        self._audit.ended(session.name, session.client_id, session.outcome)
        self._jobs.leave(session.client_id)
        self._door.closed(session)


def _in_words(error: BaseException) -> str:
    described = failures.describe(error)
    return f"{described.type_name}: {described.text:.300}".removesuffix(": ")


def _welcome(pid: int) -> Welcome:
    """What a server says of itself to who has proved the token; its incarnation is new."""
    incarnation, boot, namespace = os.urandom(16), processes.boot_id(), processes.pid_namespace()
    return Welcome(incarnation, boot, namespace, pid, sys.version_info[:3], __version__)


def _close_in_child() -> None:
    for server in list(_servers):
        server.close_in_child()
    _servers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
