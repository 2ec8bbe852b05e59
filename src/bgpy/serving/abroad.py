"""The calls that an engine runs elsewhere, and the exit that waits for the last of them.

The task thread puts them here when `Engine.run` has returned without an outcome; the thread
that polls takes them out when `finished` has come. That may be sooner: a call that is over is
not put here any more. The lock protects the calls and who waits, so that either the exit sees
the last call gone or the last call sees the exit waiting.
"""

from __future__ import annotations

import threading
from typing import Any

from bgpy.serving.job import Job

CallId = tuple[bytes, int]
"""A client's id, and the number of its request."""


class Abroad:
    """Those of one server."""

    def __init__(self) -> None:
        # Guards all below; held for a few assignments, and nothing is called under it. Reading
        # one of the dicts needs no lock: a single look-up is whole.
        self._lock = threading.Lock()
        self._serials: dict[Job, int] = {}
        self._jobs: dict[int, Job] = {}
        self._calls: dict[CallId, Job] = {}
        self._early: set[Job] = set()
        self._waiting: Job | None = None

    def went(self, job: Job, serial: int) -> None:
        """Note that `job` runs elsewhere, unless it is over."""
        with self._lock:
            if job in self._early:
                self._early.discard(job)
            else:
                self._serials[job] = serial
                self._jobs[serial] = job
                self._calls[job.owner, job.request] = job

    def left(self, job: Job) -> None:
        """Note that `job` is over."""
        with self._lock:
            serial = self._serials.pop(job, None)
            if serial is None:
                self._early.add(job)
                return
            del self._jobs[serial]
            if self._calls.get((job.owner, job.request)) is job:
                del self._calls[job.owner, job.request]

    def is_noted(self, job: Job) -> bool:
        """Whether `job` runs elsewhere, so that its end will be told."""
        with self._lock:
            return job in self._serials

    def keeps_waiting(self, exit_job: Job) -> bool:
        """Whether calls are under way; `exit_job` is kept then until they are over."""
        with self._lock:
            self._waiting = exit_job if self._serials else None
            return self._waiting is not None

    def waiting_exit(self) -> Job | None:
        """The exit that can run now; None if there is none, or calls are under way."""
        with self._lock:
            if self._serials:
                return None
            waiting, self._waiting = self._waiting, None
            return waiting

    def is_running(self, serial: int) -> bool:
        """Whether a call with that serial is under way."""
        return serial in self._jobs

    def has(self, owner: bytes, request: Any) -> bool:
        """Whether that request is under way."""
        return (owner, request) in self._calls
