"""What waits for the task thread: each client's requests in order, the clients in turn.

A client's line is full at a number of requests or bytes: its connection isn't read then
until half of it has run. A line is held while its client doesn't take its replies.

::

    push ──► line of a client ──► turns ──► pop
      │        └── held: no turn until release
      └────────── lone ──────────────────────┘

Where nothing else waits a job needs no line: it is the *lone* one, until it is popped
or somebody asks for the lines.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from bgpy.serving.job import Job
from bgpy.tasks.lifecycle import Kind


class Line:
    """What waits for one client."""

    __slots__ = ("full", "held", "jobs", "kept", "owner", "size")

    def __init__(self, owner: bytes) -> None:
        self.owner = owner
        self.jobs: deque[Job] = deque()
        self.size = 0
        """Bytes of arguments."""
        self.full = False
        self.held = False
        self.kept = True
        """It stays when nothing waits: its client is connected, and may come again."""


class JobQueue:
    """A line per client, served in turn; `pop` gives the last job when all others have run."""

    def __init__(self, max_requests: int, max_bytes: int, drained: Callable[[bytes], None]) -> None:
        """`drained` is called with the owner of a line that was full and has room again."""
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._drained = drained
        self._lock = threading.Lock()
        self._turns: deque[Line] = deque()
        self._lines: dict[bytes, Line] = {}
        self._held = 0  # lines
        self._lone: Job | None = None
        self._lone_size = max_bytes if max_requests > 1 else 0
        self._last: Job | None = None
        self.taken: Job | None = None
        """What the task thread has taken and not answered yet. `pop` says so before it takes
        it out, and gives it again where an exception struck: whoever pops sets it to None."""
        self.count = 0
        """How many can run; read without the lock by whoever looks whether there is work."""

    def push(self, job: Job, owner: bytes) -> bool:
        """Append `job` to what waits for `owner`; whether its line is full now."""
        self._lock.acquire()  # in half the time of `with`
        try:
            if not self.count and not self._held and job.size < self._lone_size:
                self._lone = job
                self.count = 1
                return False
            self._line_up_lone()
            return self._line_up(job, owner)
        finally:
            self._lock.release()

    def push_last(self, job: Job) -> bool:
        """Keep `job` until everything else has run; False if another is kept already.

        What is held runs now: there is no later any more.
        """
        with self._lock:
            if self._last is not None:
                return False
            self._last = job
            self.count += 1
            for line in self._lines.values():
                self._release(line)
            return True

    def pop(self) -> Job | None:
        """Take the next job, or None; it is `taken` until that is set to None.

        Where the taken one is still there, an exception has struck: it is given again, and
        the count, which may be wrong then, is made anew.
        """
        with self._lock:
            if self.taken is not None:
                return self._take_again(self.taken)
            job = self._lone
            if job is not None:
                self.taken = job
                self._lone = None
                self.count -= 1
                return job
            if self._turns:
                line = self._turns[0]
                self.taken = job = line.jobs[0]
                self._turns.popleft()
                line.jobs.popleft()
                if line.jobs:
                    self._turns.append(line)
                    job.more = True
                line.size -= job.size
                self.count -= 1
                if (line.kept and not line.full) or not self._took(line):
                    return job
            elif self._last is not None:
                self.taken = job = self._last
                self._last = None
                self.count -= 1
                return job
            else:
                self.count = 0
                return None
        self._drained(line.owner)
        return job

    def again(self) -> None:
        """See that `pop` is called again, after an exception has struck."""
        with self._lock:
            self.count = self._counted() + 1

    def _take_again(self, job: Job) -> Job:
        """See that the taken `job` is out, wherever taking it out was struck."""
        if self._lone is job:
            self._lone = None
        elif self._last is job:
            self._last = None
        line = self._lines.get(job.owner)
        if line is not None and line.jobs and line.jobs[0] is job:
            line.jobs.popleft()
            line.size -= job.size
            if self._turns and self._turns[0] is line:
                self._turns.rotate(-1)
        turns = [each for each in self._turns if each.jobs and not each.held]
        able = [each for each in self._lines.values() if each.jobs and not each.held]
        self._turns = deque([*turns, *(each for each in able if each not in turns)])
        self.count = self._counted()
        return job

    def _counted(self) -> int:
        """How many can run, counted."""
        waiting = sum(len(line.jobs) for line in self._turns)
        return waiting + (self._lone is not None) + (self._last is not None)

    def queued(self) -> int:
        """How many wait, those that are held included."""
        with self._lock:
            waiting = sum(len(line.jobs) for line in self._lines.values())
            return waiting + (self._lone is not None) + (self._last is not None)

    def hold(self, owner: bytes) -> None:
        """Let what waits for `owner` wait on, until `release`; not once the last job waits."""
        with self._lock:
            if self._last is not None:
                return
            self._line_up_lone()
            line = self._lines.setdefault(owner, Line(owner))
            if line.held:
                return
            if line.jobs:
                self._turns.remove(line)
                self.count -= len(line.jobs)
            line.held = True
            self._held += 1

    def release(self, owner: bytes) -> None:
        """Give `owner` its turns again."""
        with self._lock:
            line = self._lines.get(owner)
            if line is not None:
                self._release(line)

    def leave(self, owner: bytes) -> None:
        """Note that `owner` is connected no longer: what waits for it runs, and that is all."""
        with self._lock:
            self._line_up_lone()
            line = self._lines.get(owner)
            if line is not None:
                self._release(line)
                line.kept = False
                if not line.jobs:
                    del self._lines[owner]

    def holds(self, kind: Kind) -> bool:
        """Whether a job of that kind waits."""
        with self._lock:
            self._line_up_lone()
            return any(job.kind is kind for line in self._lines.values() for job in line.jobs)

    def has(self, owner: bytes, request: object) -> bool:
        """Whether that request waits."""
        with self._lock:
            self._line_up_lone()
            line = self._lines.get(owner)
            jobs = [*(line.jobs if line else ()), *([self._last] if self._last else [])]
            return any((job.owner, job.request) == (owner, request) for job in jobs)

    def withdraw(self, owner: bytes, request: int) -> bool:
        """Take a job out before it runs; False if it doesn't wait here."""
        with self._lock:
            self._line_up_lone()
            line = self._lines.get(owner)
            if line is None:
                return False
            job = next((job for job in line.jobs if job.request == request), None)
            if job is None or job.bound or job is self.taken:
                return False
            line.jobs.remove(job)
            if not line.held:
                self.count -= 1
                if not line.jobs:
                    self._turns.remove(line)
            line.size -= job.size
            drained = self._took(line)
        if drained:
            self._drained(owner)
        return True

    def clear(self) -> list[Job]:
        """Take everything out; what was pushed last comes last."""
        with self._lock:
            for line in self._lines.values():
                self._release(line)
        taken = []
        while (job := self.pop()) is not None:
            self.taken = None
            taken.append(job)
        return taken

    def _line_up(self, job: Job, owner: bytes) -> bool:
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = Line(owner)
        jobs = line.jobs
        if not line.held:
            self.count += 1
            if not jobs:
                self._turns.append(line)
        jobs.append(job)
        line.size += job.size
        if len(jobs) >= self._max_requests or line.size >= self._max_bytes:
            line.full = True
        return line.full

    def _line_up_lone(self) -> None:
        if self._lone is not None:
            job, self._lone = self._lone, None
            self.count -= 1
            self._line_up(job, job.owner)

    def _took(self, line: Line) -> bool:
        """Whether `line`, which a job has left, has room again now; forget it if it is over."""
        if not line.jobs and not line.kept:
            del self._lines[line.owner]
        if not line.full:
            return False
        line.full = len(line.jobs) > self._max_requests // 2 or line.size > self._max_bytes // 2
        return not line.full

    def _release(self, line: Line) -> None:
        if line.held:
            line.held = False
            self._held -= 1
            if line.jobs:
                self._turns.append(line)
                self.count += len(line.jobs)
