"""What the task thread does: takes one job after another, has it run, and ends it.

::

    queue.pop ─► taken ─► started: the engine runs it ─► the outbox answers ─► not taken any more

**Wherever an exception strikes.** A signal handler of the user's may raise between any two
instructions of this thread, inside a task and outside of it. Inside, it is the task's own
exception. Outside, the job says what to do: the queue names it in `taken` before it takes
it out, and forgets it only when it has been answered. If it has not `started`, it is taken
again, and nothing has happened; if it has, its call fails with what the handler raised, and
is never run twice. With no job taken the exception is logged by the reactor.

Putting that right may be struck as well, as often as you like: the reactor sees that a job
is taken still, `pop` gives it again, and since it has started it is ended, not run. What it
is ended with stands in `Job.outcome` before anybody is told, else in `_strike`: storing that
is the first thing an `except` does, and the interpreter takes no signals before. So nothing
that strikes ends the server or loses a call, and all locks on this way are left through
`with`. What may happen is a second answer, which the client drops (`bgpy.serving.outbox`).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from bgpy.errors import NoResponse
from bgpy.serving.abroad import Abroad
from bgpy.serving.ending import Ending
from bgpy.serving.job import Job
from bgpy.serving.outbox import Outbox
from bgpy.serving.queue import JobQueue
from bgpy.serving.small import SmallJob
from bgpy.system.exiting import leave_child
from bgpy.tasks.client_socket import ClientSocket
from bgpy.tasks.current import TaskThread
from bgpy.tasks.engine import Engine
from bgpy.tasks.lifecycle import DONE, EXEC, EXIT, Kind, Outcome, Result
from bgpy.wire.messages import Reason

log = logging.getLogger("bgpy.server")

SHUTTING_DOWN = "the server is shutting down; this request was not run"

UNSENT = "the server could not send how this call ended; its log says why"


class Hooks(Protocol):
    """What the worker tells the server that it works for; all in the task thread."""

    def init_file_ran(self, outcome: Outcome) -> None:
        """The init file's `init_task` has run, or failed."""

    def exit_ran(self, outcome: Outcome) -> None:
        """The exit task has run, or failed: the server ends."""


class Worker:
    """Runs the jobs of a queue with an engine."""

    def __init__(
        self,
        engine: Engine,
        jobs: JobQueue[Job],
        outbox: Outbox,
        ending: Ending,
        hooks: Hooks,
        ran: Callable[[object], None],
        thread: TaskThread,
    ) -> None:
        """`ran` is called when a task has run, with what is true if another follows at once."""
        self._run, self._run_small = engine.run, engine.run_small
        self._jobs = jobs
        self._outbox = outbox
        self._ending = ending
        self._hooks = hooks
        self._ran = ran
        self.thread = thread
        """The record of the thread that serves, with the call that runs."""
        self._client_socket = ClientSocket(outbox, None, False)  # of the job that is taken
        self.in_child = False
        """This is a child that a task has forked: it ends when the task returns."""
        self._strike: BaseException | None = None  # what struck the job that is taken
        self._promised: deque[Job] = deque()
        self._abroad = Abroad()

    def work(self) -> None:
        """Take the next job, and run and answer it; called while there are jobs."""
        try:
            job = self._jobs.pop()
            if job is None or ((job.started or job.kind is EXIT) and self._puts_off(job)):
                return
        except BaseException as error:
            self._strike = error
            self._struck(error)
        else:
            if isinstance(job, SmallJob):
                self.run_small(job)
            else:
                self.run(job)

    def run_small(self, job: SmallJob) -> None:
        """As `run` of a small call, in fewer steps."""
        try:
            thread = self.thread
            thread.call = job
            job.started = True
            run, ran, row = self._run_small, self._ran, job.row  # `self._run()` would be slower
            outcome = run(job.head, job)
            if self.in_child:
                leave_child(None if outcome is None else outcome.error)
            thread.call = None
            ran(None if row is None else row.jobs)
            if outcome is not DONE or not job.answered:
                outcome = self._tell_end(job, job, outcome)
            self._jobs.taken = None
        except BaseException as error:
            self._strike = error
            self._struck(error)

    def run(self, job: Job) -> None:
        """Run and answer `job`, which is taken and has not started."""
        try:
            payload, thread = job.payload, self.thread
            client_socket = self._client_socket = ClientSocket(self._outbox, job, job.waits)
            thread.call = job
            job.started = True
            job.payload = None
            outcome = self._run(job.kind, payload, client_socket)
            if self.in_child:
                leave_child(None if outcome is None else outcome.error)
            thread.call = None
            self._ran(None)
            if outcome is not DONE or not client_socket.answered or job.kind is not EXEC:
                outcome = self._tell_end(job, client_socket, outcome)
            self._jobs.taken = None
        except BaseException as error:
            self._strike = error
            self._struck(error)

    def _tell_end(self, job: Job, client_socket: ClientSocket, outcome: Outcome | None) -> Outcome:
        """End `job`, if it doesn't run elsewhere now; gives what stands for its outcome."""
        if outcome is None:
            self._abroad.went(job, self.thread.serial_of(job))
            return DONE
        self._end(job, client_socket, outcome)
        self._jobs.taken = None
        return _forget_error(job, client_socket)

    def is_running(self, serial: int) -> bool:
        """Whether the call with that serial is under way; asked by the thread that polls."""
        call = self.thread.call
        runs = call is not None and call.serial == serial
        return runs or self._abroad.is_running(serial)

    def is_abroad(self, owner: bytes, request: Any) -> bool:
        """Whether the engine runs that request elsewhere; asked by the thread that polls."""
        return self._abroad.has(owner, request)

    def interrupted(self) -> None:
        """The process was asked to end: refuse what is queued, then have the exit task run.

        What has its receipt was promised to run, and still does. May be repeated where it
        was struck: what was taken out stands in `_promised` until it is back.
        """
        self.end_struck()
        self._ending.interrupt()
        self.settle()
        refused = 0
        turn = self._ending.turn
        while turn is not None and (job := self._jobs.pop()) is not None and job is not turn:
            if job.kind is EXEC and not job.waits and not job.started:
                self._promised.append(job)
            else:
                self.refuse_ending(job)
                refused += 1
            self._jobs.taken = None
        self._jobs.taken = None
        while self._promised:
            self._jobs.put_back(self._promised[0])
            self._promised.popleft()
        self.settle()
        if refused:
            log.info("queued requests that were rejected, since the server ends: %d", refused)

    def settle(self) -> None:
        """See that the exit whose turn it is waits in the queue; from any thread, at any time."""
        turn = self._ending.turn
        if turn is not None and not turn.started:
            self._jobs.push_last(turn)

    def refuse_ending(self, job: Job) -> None:
        """Answer a job that doesn't run since the server ends; an exit has what it wanted."""
        if job.peer is None:
            return
        if job.kind is Kind.EXIT and not job.waits:
            self._outbox.receipt(job.peer, job.request)
        else:
            self._outbox.refuse(job.peer, job.request, Reason.NOT_STARTED, SHUTTING_DOWN)

    def finished(self, client_socket: ClientSocket, outcome: Outcome) -> None:
        """End a call that the engine has run elsewhere; called by the thread that polls."""
        job: Job = client_socket.call
        if job.outcome is not None:
            return  # struck when it went there, it has had its end
        self._abroad.left(job)
        self._end(job, client_socket, outcome)
        _forget_error(job, client_socket)
        if (waiting := self._abroad.waiting_exit()) is not None:
            self._jobs.push_last(waiting)

    # One job

    def _puts_off(self, job: Job) -> bool:
        """Whether `job` doesn't run now: it was struck and has started, or waits for others."""
        if job.started:
            self.end_struck()
            return True
        if self._abroad.keeps_waiting(job):
            self._jobs.taken = None
            return True
        return False

    def _end(self, job: Job, client_socket: ClientSocket, outcome: Outcome) -> None:
        """Tell everybody how `job` ended; called again where it was struck."""
        if job.outcome is None:
            job.outcome = outcome
        outcome = job.outcome
        kind = job.kind
        keeps_serving = outcome.result in (Result.UNREADABLE, Result.UNSENT)
        if kind is Kind.EXIT and keeps_serving:
            # First, so that a client which asks again at once finds the server as it is then.
            self._ending.unread(job)
            self.settle()
        try:
            self._outbox.finish(job, client_socket, outcome)
        except Exception:
            # The user's exception failed when it was printed or pickled, or a handler struck.
            log.exception("the end of %s_task could not be sent to its caller", kind.name.lower())
            self._outbox.finish(job, client_socket, Outcome(Result.RAISED, NoResponse(UNSENT)))
        if kind is Kind.EXIT and not keeps_serving:
            self._hooks.exit_ran(outcome)
        elif kind is Kind.INIT and job.peer is None:
            self._hooks.init_file_ran(outcome)

    def _struck(self, error: BaseException) -> None:
        """Put right what an exception has struck outside of a task; raises it if it struck none."""
        if self.in_child:
            leave_child(error)
        job = self._jobs.taken
        self.thread.call = None
        self.settle()
        if job is None or not job.started:
            raise error
        log.error("a signal handler raised outside of a task", exc_info=error)
        self.end_struck()

    def end_struck(self) -> None:
        """End the job that is taken, if it had started when an exception struck."""
        job = self._jobs.taken
        if job is None or not job.started:
            return
        client_socket = job if isinstance(job, SmallJob) else self._client_socket
        over = job.kind is EXEC and client_socket.answered is True and not client_socket.deferred
        if not over and not self._abroad.is_noted(job):
            strike = self._strike or RuntimeError(
                "a signal handler raised while the server was handling this call"
            )
            self._end(job, client_socket, Outcome(Result.RAISED, strike))
        self._jobs.taken = self._strike = None
        if job.outcome is not None:
            _forget_error(job, client_socket)


def _forget_error(job: Job, client_socket: ClientSocket) -> Outcome:
    """Let go of what a task has raised, when its call has ended; gives what stands for it.

    Its traceback leads to the task's frame, that to the client socket and to whoever called it,
    and these to the outcome: all would stay until a collection. A deferred answer that is under
    way and fails leaves the error to be told.
    """
    if client_socket.answered or not client_socket.deferred:
        job.outcome = DONE
    return DONE
