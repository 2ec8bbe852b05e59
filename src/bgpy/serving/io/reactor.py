"""The reactor: one selector, polled by whichever of two threads has the role.

Only the holder of the role touches the selector (kqueue and select pollers don't see
what another thread registers); the others append to a list of changes and wake it.
What a poll finds is handed to the handler that was registered with the socket.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from threading import get_ident
from time import monotonic
from typing import Any, Protocol

from bgpy.serving.io.agenda import Agenda, attempt
from bgpy.serving.io.poller import ALONE, READ, OnReady, Poller, Watched
from bgpy.serving.io.polling_role import POLL_AGAIN, TAKE_OVER, Look, PollingRole
from bgpy.system import reserve
from bgpy.system.exiting import leave_child
from bgpy.system.latch import Latch
from bgpy.system.strikes import is_strike

log = logging.getLogger("bgpy.server")

LOOPS = 8
"""Loops around the one that serves, which bear what strikes it."""

CHORES = 1.0


class Deaf(Exception):
    """A task has closed the descriptor that is polled: no client can be served any more."""


class _JobRow(Protocol):
    """Jobs that came together: what the reactor needs of a `bgpy.serving.queue.JobRow`."""

    @property
    def jobs(self) -> deque[Any]:
        """Those that have not been taken."""


class Jobs(Protocol):
    """What waits for the task thread."""

    count: int
    """How many can run, but for those in `row`."""
    taken: Any
    """The job that runs; between jobs, one that an exception left unanswered, else None."""

    @property
    def row(self) -> _JobRow | None:
        """Jobs that run before all others; the task thread sets each as `taken`."""

    def spill(self) -> None:
        """End `row`: what is left of it can run as all else can. Harmless if repeated."""


class Reactor:
    """Polls sockets for the task thread, and for the standby while that runs a job."""

    def __init__(
        self, chores: Callable[[], None], signalled: Callable[[int], None] = lambda number: None
    ) -> None:
        """`chores` is called about once in `CHORES` seconds while there is work.

        `signalled` is called with the number of each signal that came by `wakeup_fd`.
        """
        self._chores = chores
        self._signalled = signalled
        self._chores_done = monotonic()
        self._will_tend = False
        self._sockets = Poller()
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        self._sockets.register(self._woken, READ, self._drain_wakes)
        # Around `arm`, `look` and `yield_role` of the role: taken by the task thread to arm the
        # standby and by the standby, never while polling. `disarm` is one store, outside of it;
        # why none of this loses a call stands in `polling_role`.
        self._lock = threading.Lock()
        self._role = PollingRole()
        self._bell = Latch()
        self._agenda = Agenda()
        self.after = self._agenda.after
        """Call something when some seconds are over; called by the holder of the role."""
        self._poller = 0
        """The thread that polls, or does so next."""
        self._spill: Callable[[], None] = lambda: None  # that of the jobs, once they are served
        self._stopping = False
        self._interrupted = False
        self._pid = os.getpid()
        self._in_child = False
        self._standby = threading.Thread(target=self._stand_by, name="bgpy-standby", daemon=True)

    # What handlers and sessions use

    def register(self, sock: Watched, events: int, handler: OnReady) -> None:
        """Watch `sock`; called by the holder of the role or before `serve`."""
        self._sockets.register(sock, events, handler)

    def modify(self, sock: Watched, events: int, handler: OnReady) -> None:
        """Watch `sock` for other `events`; called by the holder of the role."""
        self._sockets.modify(sock, events, handler)

    def unregister(self, sock: Watched) -> None:
        """Watch `sock` no longer; called by the holder of the role."""
        self._sockets.unregister(sock)

    def change(self, change: Callable[[], None]) -> None:
        """Have the holder of the role call `change` before its next poll; from any thread."""
        self._agenda.leave(change)
        # A thread that begins to poll says so before it looks for changes: it sees this one,
        # or is seen here and woken.
        if self._poller != get_ident():
            self.wake()

    def wake(self) -> None:
        """End the poll that is under way, if one is; from any thread or a signal handler."""
        try:
            self._waker.send(b"\0")
        except (BlockingIOError, OSError):
            pass  # full: it will wake anyway; closed: nobody polls any more

    @property
    def wakeup_fd(self) -> int:
        """For `signal.set_wakeup_fd`: a signal ends the poll also where select ignores it."""
        return self._waker.fileno()

    # The task thread

    def serve(
        self,
        jobs: Jobs,
        run_job: Callable[[], None],
        run_taken: Callable[[Any], None],
        interrupted: Callable[[], None],
    ) -> None:
        """Poll and run jobs in this thread until `stop` is called.

        `run_job` takes one of `jobs` and runs it, `run_taken` one that a session has taken;
        `interrupted` is called after `interrupt`.
        Raises `OSError` if a task has closed the descriptor that is polled.
        """
        self._spill = jobs.spill
        self._standby.start()
        self._poller = get_ident()
        try:
            self._bear(LOOPS, lambda: self._serve(jobs, run_job, run_taken, interrupted))
        except Deaf as error:
            raise error.__cause__ or error from None

    def _bear(self, loops: int, serve: Callable[[], None]) -> None:
        """Call `serve` again and again, whatever it raises, until `stop`.

        A signal handler that a task has set may raise anywhere, also where a loop that bears
        it begins anew. So each stands in another: as many would have to be struck in a row.
        """
        while not self._stopping:
            try:
                if loops:
                    self._bear(loops - 1, serve)
                else:
                    serve()
            except Deaf:
                raise
            except BaseException:
                pass

    def _serve(
        self,
        jobs: Jobs,
        run_job: Callable[[], None],
        run_taken: Callable[[Any], None],
        interrupted: Callable[[], None],
    ) -> None:
        while not self._stopping:
            try:
                self._poll_and_run(jobs, run_job, run_taken, interrupted)
            except BaseException as error:
                if self._in_child:
                    # A signal handler has forked while nothing ran; what it raises ends the
                    # child where it is guarded, so this is of the poll that has been closed.
                    leave_child(None)
                if isinstance(error, MemoryError):
                    reserve.give_back()
                if isinstance(error, OSError) and self._sockets.is_closed():
                    raise Deaf from error
                # Just before or after a task, or while polling; who waited for a task was told.
                log.exception("an exception interrupted the server between two tasks; it continues")

    def _poll_and_run(
        self,
        jobs: Jobs,
        run_job: Callable[[], None],
        run_taken: Callable[[Any], None],
        interrupted: Callable[[], None],
    ) -> None:
        """Poll, and run what that brings, in turns; a call of Python's is too dear for each step.

        Where no job waits, the poll is asked for one socket, which is told that it is `ALONE`: its
        session may take the job that it has received. The poll gives the ready ones in turn.
        """
        role, sockets = self._role, self._sockets
        wait, handlers = sockets.wait, sockets.handlers
        changes, deadlines = self._agenda.changes, self._agenda.deadlines
        # What a row has left; or by an exception, a job without an answer, a handler that didn't
        # return.
        left_behind = True
        while True:
            job = None
            role.running = False
            if role.standby:
                self._ask_back()
            if left_behind:
                jobs.spill()
            timeout = self._agenda.do(None) if changes or deadlines else None
            # Asked only now: the standby may have met the wake of a job or a stop.
            if jobs.count or self._interrupted or self._stopping or left_behind:
                left_behind = False
                sockets.poll(0.0)
                if not (jobs.count or self._interrupted or self._stopping or jobs.taken):
                    continue
            else:
                ready = wait(timeout, 1)
                if not ready or ready[0][1] != READ:
                    sockets.call(ready)
                else:
                    fd = ready[0][0]
                    try:
                        handlers[fd](ALONE)
                    except BaseException as error:
                        sockets.failed(fd, error)
                job = jobs.taken
                if job is None and not jobs.count and jobs.row is None:
                    continue
            role.running = True
            role.calls += 1
            if not role.armed:
                self._arm()
            if job is not None:
                run_taken(job)
            elif self._stopping:
                return
            else:
                left_behind = jobs.row is not None
                if not self._interrupted:
                    self._run_jobs(jobs, run_job, run_taken)
                elif not left_behind:  # a row is spilled first: what it has begun is refused too
                    self._hear_interrupt(interrupted)

    def _run_jobs(
        self, jobs: Jobs, run_job: Callable[[], None], run_taken: Callable[[Any], None]
    ) -> None:
        """Run jobs until there are none, or it is time to poll."""
        until = monotonic() + POLL_AGAIN
        if jobs.row is not None:
            self._run_row(jobs, jobs.row.jobs, run_taken, until)
            return
        while not (self._stopping or self._interrupted):
            run_job()
            if not jobs.count or monotonic() >= until:
                break

    def _run_row(
        self, jobs: Jobs, waiting: deque[Any], run_taken: Callable[[Any], None], until: float
    ) -> None:
        """Run the jobs of a row until there are none, or it is time to poll.

        The loop's head takes one out and says so in one step, whatever strikes, and no other
        thread that has the interpreter's lock sees it in neither place.
        """
        try:
            for jobs.taken in iter(waiting.popleft, None):
                run_taken(jobs.taken)
                if self._stopping or self._interrupted or monotonic() >= until:
                    break
        except IndexError as error:  # there are no more, or the standby has spilled them
            if is_strike(error):
                raise

    def _hear_interrupt(self, interrupted: Callable[[], None]) -> None:
        """Do what `interrupt` asked for; what that left to do is new to the standby."""
        try:
            self._interrupted = False
            interrupted()
        except BaseException:
            self._interrupted = True  # once more: it must not be lost
            raise

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt` was called, and the task that runs keeps it waiting."""
        return self._interrupted

    def interrupt(self) -> None:
        """Have `serve` call its `interrupted` soon; from any thread or a signal handler."""
        self._interrupted = True
        self.wake()

    def stop(self) -> None:
        """Have `serve` return after the job that runs; from any thread or a signal handler."""
        self._stopping = True
        self.wake()

    def drain(self, busy: Callable[[], bool], seconds: float) -> None:
        """Poll after `serve` has returned, until not `busy` or `seconds` are over."""
        until = monotonic() + seconds
        self._role.running = False
        if self._role.standby:
            self._ask_back()
        while busy() and (left := until - monotonic()) > 0:
            self._poll(0.0)  # a change may send the last of it
            if busy():
                self._poll(left)

    def close(self) -> None:
        """End the standby and give back the descriptors; called after `serve` has returned."""
        self._stopping = True
        if self._standby.ident is not None:
            self.wake()
            self._bell.open()
            self._standby.join()
        self.close_in_child()

    def close_in_child(self) -> None:
        """Give back the descriptors without touching what a forked parent watches."""
        self._in_child = os.getpid() != self._pid
        if self._in_child:
            # The standby isn't there to let go of them. If this thread holds one, in the middle of
            # what a signal handler has interrupted, leaving that raises, and so ends the child.
            for lock in (self._lock, self._role.polling):
                if lock.locked():
                    lock.release()
        self._sockets.close()
        self._waker.close()
        self._woken.close()

    def _ask_back(self) -> None:
        """Have the standby, which polls, give up the role, and wait until it has.

        The standby may have taken the byte of a signal whose handler is still to run in this
        thread: if it polled before that, nothing would wake it. So its handlers run here, when the
        standby has given up the role. It can't poll again, since nothing is `running`: the byte of
        a later signal ends the poll.
        """
        self.wake()
        with self._role.polling:
            pass
        self._let_handlers_run()

    def _let_handlers_run(self) -> None:
        """Do nothing: Python runs the handlers of signals as a function begins."""

    def _arm(self) -> None:
        self._bell.open()
        with self._lock:
            self._role.arm()

    def tend(self) -> None:
        """Have the chores done when their time comes, though there is no work.

        Called by the holder of the role. The standby sleeps while nothing is called for: a
        deadline rings for it, the same for all that ask meanwhile.
        """
        if not self._will_tend:
            self._will_tend = True
            self.after(self._chores_done + CHORES - monotonic(), self._tend)

    def _tend(self) -> None:
        self._will_tend = False
        self._bell.open()

    # The standby

    def _stand_by(self) -> None:
        if sys.platform != "win32":
            # Taken by this thread they would not interrupt what the task thread waits for.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        look, failed = Look.SLEEP, False
        while not self._stopping:
            try:
                look = self._stand_by_once(look)
                failed = False
            except BaseException:
                if not failed:
                    log.exception("the standby thread failed to poll and tries again")
                look, failed = Look.TICK, True

    def _stand_by_once(self, look: Look) -> Look:
        """Wait for the next look, and do what it calls for; gives what it was."""
        self._bell.wait(-1 if look is Look.SLEEP else TAKE_OVER)
        with self._lock:
            look = self._role.look()
        if look is Look.POLL:
            self._poll_until_asked()
        else:
            self._do_chores_in_time()
        if look is Look.SLEEP:
            self._role.disarm()
            if not self._role.is_quiet():
                look = Look.TICK
        return look

    def _poll_until_asked(self) -> None:
        role, task_thread = self._role, self._poller
        role.claim()
        try:
            self._poller = get_ident()
            while role.running and not self._stopping:
                self._spill()
                self._do_chores_in_time()
                self._poll(CHORES)
        finally:
            with self._lock:
                self._poller = task_thread
                role.yield_role()

    def _do_chores_in_time(self) -> None:
        now = monotonic()
        if now - self._chores_done >= CHORES:
            self._chores_done = now
            attempt(self._chores)

    # The poll

    def _poll(self, timeout: float | None) -> None:
        """Make the changes that were left, serve deadlines, and poll."""
        self._sockets.poll(self._agenda.do(timeout))

    def _drain_wakes(self, events: int) -> None:
        try:
            more = True
            while more:
                data = self._woken.recv(4096)
                more = len(data) == 4096
                for number in data.replace(b"\0", b""):
                    self._signalled(number)
        except BlockingIOError:
            pass
