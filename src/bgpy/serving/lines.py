"""The lines of all clients, and whose turn it is: what `bgpy.serving.queue` keeps under its lock.

::

    line_up ──► line of a client ──► turns ──► first, drop_first
                   ├── held: no turn until release
                   └── withdraw

Nothing here locks, waits or calls anybody. All that is a number, and `turns`, can be counted
anew from the lines themselves (`mend`), where an exception may have struck. None of it takes
longer the more jobs or clients wait, but for `mend` and `release_all`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from typing import Generic

from bgpy.serving.budget import Budget
from bgpy.serving.line import J, Line
from bgpy.system.strikes import is_strike
from bgpy.tasks.lifecycle import EXEC, INIT

JOB = 512
"""Bytes that a job takes besides its arguments, about."""


class Lines(Generic[J]):
    """A line per client, each in its turn."""

    __slots__ = (
        "_all",
        "_budget",
        "_max_bytes",
        "_max_requests",
        "held",
        "held_lines",
        "inits",
        "relieved",
        "turns",
    )

    def __init__(self, max_requests: int, max_bytes: int, budget: Budget) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._budget = budget
        self._all: dict[bytes, Line[J]] = {}
        self.held_lines: dict[bytes, Line[J]] = {}
        """Those that get no turns, also where nothing waits in them."""
        self.turns: OrderedDict[bytes, Line[J]] = OrderedDict()
        """Those in which something can run, in the order of their turns."""
        self.held = 0
        """How many jobs wait in those."""
        self.inits = 0
        """How many of all are inits."""
        self.relieved: dict[object, bytes] = {}
        """Owners of lines that were full and have room again, until they have been told."""

    def get(self, owner: bytes) -> Line[J] | None:
        """The line of `owner`, if it has one."""
        return self._all.get(owner)

    def of(self, owner: bytes) -> Line[J]:
        """The line of `owner`, made if it has none."""
        line = self._all.get(owner)
        if line is None:
            line = self._all[owner] = Line(owner)
        return line

    def line_up(self, jobs: Sequence[J], size: int, line: Line[J]) -> bool:
        """Append `jobs`, executes all; whether the line is full now.

        `size` are the bytes of their arguments.
        """
        count = len(jobs)
        if line.held:
            self.held += count
        elif not line.count:
            self.turns[line.owner] = line
        line.extend(jobs, size)
        self._budget.queued += size + JOB * count
        if line.count >= self._max_requests or line.size >= self._max_bytes:
            line.full = True
        return line.full

    def add(self, job: J, line: Line[J]) -> bool:
        """As `line_up` of one job."""
        size = job.size
        line.jobs.append(job)
        line.count = count = line.count + 1
        line.size += size
        if line.index is not None:
            line.index.setdefault(job.request, job)
        if line.held:
            self.held += 1
        elif count == 1:
            self.turns[line.owner] = line
        self._budget.queued += size + JOB
        if job.kind is INIT:
            self.inits += 1
        if count >= self._max_requests or line.size >= self._max_bytes:
            line.full = True
        return line.full

    def drop_first(self, line: Line[J], job: J) -> bool:
        """Take `job` out, the first of `line`, whose turn it is; whether that has room again."""
        line.drop_first()
        if not line.count:
            del self.turns[line.owner]
        else:
            job.more = True
            if len(self.turns) > 1:
                self.turns.move_to_end(line.owner)
        self._budget.queued -= job.size + JOB
        if job.kind is INIT:
            self.inits -= 1
        return (line.full or not line.kept) and self._took(line)

    def withdraw(self, line: Line[J], job: J) -> bool:
        """Take `job` out from between the others, if it may be; whether that was done.

        An execute whose client doesn't wait was receipted when it came, and must run.
        """
        if job.kind is EXEC and not job.waits:
            return False
        line.remove(job)
        if line.held:
            self.held -= 1
        elif not line.count:
            del self.turns[line.owner]
        self._budget.queued -= job.size + JOB
        if job.kind is INIT:
            self.inits -= 1
        self._took(line)
        return True

    def hold(self, line: Line[J]) -> int:
        """Give `line` no turns until `release`; how many jobs can't run any more."""
        if line.held:
            return 0
        if line.count:
            del self.turns[line.owner]
            self.held += line.count
        line.held = True
        self.held_lines[line.owner] = line
        return line.count

    def release(self, line: Line[J]) -> int:
        """Give `line` its turns again, if it is held; how many jobs can run again."""
        if not line.held:
            return 0
        line.held = False
        del self.held_lines[line.owner]
        if line.count:
            self.turns[line.owner] = line
            self.held -= line.count
        return line.count

    def release_all(self) -> int:
        """Give all lines their turns; how many jobs can run again."""
        return sum(self.release(line) for line in list(self.held_lines.values()))

    def forget_if_over(self, line: Line[J]) -> None:
        """Forget `line` if nothing waits in it and nothing more will come."""
        if not line.count and not line.kept:
            self._all.pop(line.owner, None)

    def pour(self, jobs: deque[J], owner: bytes) -> tuple[int, bool]:
        """Move `jobs` behind what waits for `owner`: how many that were, and whether its line is
        full now.

        They are moved in one step, though another thread takes from `jobs`, and whatever strikes.
        """
        line = self.of(owner)
        count, size = line.count, line.size
        try:
            line.jobs.extend(iter(jobs.popleft, None))
        except IndexError as error:  # there are no more
            if is_strike(error):
                raise
        line.mend()
        count, size = line.count - count, line.size - size
        if count and line.held:
            self.held += count
        elif count:
            self.turns[line.owner] = line
        self._budget.queued += size + JOB * count
        if line.count >= self._max_requests or line.size >= self._max_bytes:
            line.full = True
        return count, line.full

    def take_out(self, job: J) -> None:
        """See that `job`, which was to be taken out, is not the first of its line any more."""
        line = self._all.get(job.owner)
        if line is not None and line.jobs and line.jobs[0] is job:
            line.jobs.popleft()
            if line.owner in self.turns:
                self.turns.move_to_end(line.owner)

    def mend(self) -> int:
        """Count anew what an exception may have left half done; gives how many jobs can run."""
        lines = self._all.values()
        self.held_lines.clear()
        self.held_lines.update((line.owner, line) for line in lines if line.held)
        for line in lines:
            line.mend()
            if line.count and not line.held:
                self.turns.setdefault(line.owner, line)
            else:
                self.turns.pop(line.owner, None)
        jobs = list(self)
        self.held = sum(line.count for line in self.held_lines.values())
        self.inits = sum(job.kind is INIT for job in jobs)
        self._budget.queued = sum(job.size + JOB for job in jobs)
        for line in list(lines):
            self.forget_if_over(line)
        return len(jobs) - self.held

    def __iter__(self) -> Iterator[J]:
        """All jobs, with those that are gone where `mend` has not been through."""
        return (job for line in self._all.values() for job in line.jobs)

    def _took(self, line: Line[J]) -> bool:
        """Whether `line`, which a job has left, has room again now; forget it if it is over."""
        self.forget_if_over(line)
        half = line.count <= self._max_requests // 2 and line.size <= self._max_bytes // 2
        if not line.full or not half:
            return False
        self.relieved[object()] = line.owner  # first, so that it is told whatever strikes
        line.full = False
        return True
