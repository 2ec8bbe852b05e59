"""Runs one job after another on the task thread: decode, handle, answer.

A task that forks leaves its child here with the parent's stack: the child ends when
the task returns.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from bgpy.codec import functions, modules, payload
from bgpy.errors import DecodeError
from bgpy.serving import outbox
from bgpy.serving.outbox import Job
from bgpy.system.exiting import leave
from bgpy.tasks.interrupts import call_user
from bgpy.tasks.lifecycle import DONE, EXEC, INIT, Kind, Outcome, Result, Tasks
from bgpy.tasks.signatures import Functions, check
from bgpy.wire.messages import CODEC_NONE

log = logging.getLogger("bgpy.server")

Load = Callable[[], Functions]
"""Gives the three functions of an init file."""


class Runner:
    """The task thread's work."""

    def __init__(
        self,
        catalogue: modules.Catalogue,
        init_file: Load | None,
        unread: Callable[[Job], None],
    ) -> None:
        """`unread` hears of a job that can't be read, before its client does."""
        self.tasks = Tasks()
        self.current: Job | None = None
        """The job that runs; read by the thread that polls."""
        self._catalogue = catalogue
        self._init_file = init_file
        self._unread = unread
        self.in_child = False
        """This is a child that a task has forked."""

    def run(self, job: Job) -> Outcome:
        """Run `job` to its end and answer it."""
        self.current = job
        try:
            value = call_user(self._value, job)
        except BaseException as error:
            outcome = Outcome(Result.UNREADABLE, error)
        else:
            outcome = self.tasks.handle(job.kind, value, job)
        if self.in_child:
            _end_child(outcome)
        self.current = None
        if outcome.result is Result.UNREADABLE:
            self._unread(job)
        if outcome is DONE and job.answered and job.kind is EXEC:
            return outcome
        try:
            outbox.finish(job, outcome)
        except BaseException:
            # What the user's exceptions do when they are printed or pickled is theirs too.
            log.exception("%s_task: its failure could not be told", job.kind.name.lower())
        return outcome

    def broken_off(self, job: Job, error: Exception) -> Outcome:
        """Answer `job`, whose run was broken off outside of its task.

        A signal handler that a task has set may raise anywhere in this thread.
        """
        self.current = None
        outcome = Outcome(Result.RAISED, error)
        outbox.finish(job, outcome)
        return outcome

    def runs(self, kind: Kind) -> bool:
        """Whether a job of that kind runs now; asked by the thread that polls."""
        job = self.current
        return job is not None and job.kind is kind

    def _value(self, job: Job) -> Any:
        if job.kind is INIT:
            return self._functions(job)
        message = job.message
        if message is None or (job.kind is not EXEC and message.codec == CODEC_NONE):
            return {"await_response": job.waits}
        args = payload.decode(message[1], message[2], message[4], "args")
        if args.__class__ is not dict and not isinstance(args, dict):
            raise DecodeError(f"args must be a dict, not {type(args).__name__}")
        args["await_response"] = job.waits
        return args

    def _functions(self, job: Job) -> Functions | None:
        if self.tasks.initialized:
            return None
        if job.message is None:
            assert self._init_file is not None
            loaded = self._init_file()
        else:
            message = job.message
            packed = (message.head, message.buffers, message.code)
            loaded = Functions(*functions.decode_tasks(packed, self._catalogue))
        check(loaded)
        return loaded


def _end_child(outcome: Outcome) -> NoReturn:
    if outcome.error is not None:
        traceback.print_exception(outcome.error)
    leave(0 if outcome.error is None else 1)
