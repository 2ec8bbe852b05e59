"""What waits for the task thread: each client's requests in order, the clients in turn.

A client's line is full at a number of requests or bytes: its connection isn't read then
until half of it has run. A line is held while its client doesn't take its replies.

::

    push ──► line of a client ──► turns ──► pop
               └── held: no turn until release

Where nothing waits, and the thread that polls is the task thread, jobs need no line: one that
comes alone is `taken` at once, and those that come together run as a *row* (`bgpy.serving.road`,
`bgpy.serving.small`). What is left of a row waits in a line when somebody polls.

The lock is held for a few steps, by either of two threads. The thread that polls pushes
(`push`, `push_row`, and the task thread alone `begin_row`), looks (`queued`, `size_of`, `find`,
`holds_init`), withdraws, and holds, releases and lets go of clients. The task thread pops, and
at the server's end puts back and clears; before anybody polls it pushes the init file's job.
Both push the last job (`push_last`), and spill the row before they poll (`spill`). None of them
takes longer the more jobs or clients wait, so that neither thread keeps the other: `clear` and
`push_last`, which come at a server's end, are the exceptions. Nobody is called while it is held,
nor is anything made there whose `__del__` is the user's; so what strikes inside, a signal handler
or the collector, can't come back for the lock. A handler that raises there leaves what waits in
place; the numbers that are derived from it are counted anew by the next who comes: the queue is
*torn* until then.

Who makes room in a line has to tell that it is read again (`drained`), after letting go of
the lock. What is to be told stands in `Lines.relieved` until it has been: where the task thread
was struck before, its job is taken still, and it tells when it takes that up again; where
the thread that polls was, the session that it worked for closes, and `leave` tells. Told
twice does no harm.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol

from bgpy.serving.budget import Budget, Overloaded
from bgpy.serving.line import J, Line
from bgpy.serving.lines import JOB, Lines

ROOM_FOR_ONE = 2**16
"""Bytes of arguments for which there is room, whatever else is kept, where nothing waits."""


class JobRow(Protocol[J]):
    """Calls of one client that came together; see `bgpy.serving.small`."""

    @property
    def jobs(self) -> deque[J]:
        """Those that have not been taken."""

    @property
    def owner(self) -> bytes:
        """Whose they are."""

    def pause(self) -> None:
        """Have no more read from the client."""

    def flush(self) -> None:
        """Send the replies that haven't left."""


class JobQueue(Generic[J]):
    """A line per client, served in turn; `pop` gives the last job when all others have run."""

    def __init__(
        self,
        max_requests: int,
        max_bytes: int,
        drained: Callable[[bytes], None],
        budget: Budget | None = None,
    ) -> None:
        """`drained` is called with the owner of a line that was full and has room again."""
        self._drained = drained
        self._budget = Budget(2**62) if budget is None else budget
        # Guards all below but `taken` and reading `count`: see the module's docstring.
        self._lock = threading.Lock()
        self._lines: Lines[J] = Lines(max_requests, max_bytes, self._budget)
        self._last: J | None = None
        self.row: JobRow[J] | None = None
        """Calls that came together and run next, one by one; the task thread takes them out itself,
        until somebody polls."""
        self._torn = False
        self.count = 0
        """How many can run; the reactor reads it without the lock."""
        self.held_lines: Mapping[bytes, object] = self._lines.held_lines
        """The lines that get no turns now, by owner."""
        self.taken: J | None = None
        """What `pop` took, until the worker sets this to None: when it is answered.

        Where nothing waits or is held, the task thread may set it to a job that has just come,
        while it polls: nobody else pops or pushes then.

        `pop` says so before it takes a job out, so it is known also where an exception
        struck, and gives it again; a thread that looks for it meets it in the queue or here.
        """

    def push(self, job: J, owner: bytes) -> bool:
        """Append `job` to what waits for `owner`; whether its line is full now.

        Raises `Overloaded`: the job was not taken, and its client is to be told.
        """
        with self._lock:
            self._begin()
            lines, budget = self._lines, self._budget
            line = lines.of(owner)
            others = self.count or lines.held
            short = budget.used > budget.ample and (others or job.size >= ROOM_FOR_ONE)
            if short and not budget.admits(line.size, job.size + JOB):
                lines.forget_if_over(line)
                self._torn = False
                raise Overloaded
            full = self._line_up(job, line)
            self._torn = False
            return full

    def push_row(self, jobs: Sequence[J], owner: bytes) -> bool:
        """As `push` of each of `jobs`, small executes all.

        Raises `Overloaded` where memory is so short that each needs a look of its own: none
        was taken.
        """
        size = jobs[0].size if len(jobs) == 1 else sum([job.size for job in jobs])
        with self._lock:
            self._begin()
            lines, budget = self._lines, self._budget
            line = lines.of(owner)
            if budget.used + size + JOB * len(jobs) > budget.ample:
                lines.forget_if_over(line)
                self._torn = False
                raise Overloaded
            if not line.held:
                self.count += len(jobs)
            full = lines.line_up(jobs, size, line)
            self._torn = False
            return full

    def begin_row(self, row: JobRow[J], jobs: Sequence[J]) -> bool:
        """Have `jobs` run next, as `row`; False where anything else waits, or memory is short.

        Called by the task thread while it polls, at the end of that poll.
        """
        with self._lock:
            self._begin()
            short = self._budget.used > self._budget.ample
            self._torn = False
            if self.count or self._lines.held_lines or short:
                return False
            row.jobs.extend(jobs)
            self.row = row
            return True

    def spill(self) -> None:
        """Have what is left of the row wait in its client's line, and its replies leave.

        Called by the holder of the polling role before it polls. Harmless if repeated.
        """
        row = self.row
        if row is None:
            return
        full = False
        if row.jobs or self._torn:
            with self._lock:
                self._begin()
                poured, full = self._lines.pour(row.jobs, row.owner)
                self.count += poured  # no line is held while a row runs
                self._torn = False
        if full:
            row.pause()
        row.flush()
        self.row = None

    def put_back(self, job: J) -> None:
        """Append a job that `pop` gave, which has its receipt: there is always room for it.

        Once only, also where the caller was struck and does it again.
        """
        with self._lock:
            self._begin()
            line = self._lines.of(job.owner)
            if not line.jobs or line.jobs[-1] is not job:
                self._line_up(job, line)
            self._torn = False

    def push_last(self, job: J) -> None:
        """Keep `job` until everything else has run, if no other is kept already.

        What is held runs now: there is no later any more.
        """
        with self._lock:
            self._begin()
            if self._last is None:
                self._last = job
                self.count += 1 + self._lines.release_all()
            self._torn = False

    def pop(self) -> J | None:
        """Take the next job, or None; it is `taken` until that is set to None.

        Where the one before is taken still, an exception has struck, and it is given again.
        """
        taken = self.taken
        if taken is not None:
            with self._lock:
                self._mend()
            self._tell_relieved()
            return taken
        try:
            with self._lock:
                if self._torn:
                    self._mend()
                lines = self._lines
                if not lines.turns:
                    return self._pop_last()
                line = next(iter(lines.turns.values()))
                job = self.taken = line.first() if line.gone else line.jobs[0]
                relieved = lines.drop_first(line, job)
                self.count -= 1
                if not relieved:
                    return job
        except BaseException:
            self._torn = True
            raise
        self._tell_relieved()
        return job

    def queued(self) -> int:
        """How many wait, those that are held included."""
        with self._lock:
            if self._torn:
                self._mend()
            return self.count + self._lines.held

    def size_of(self, owner: bytes) -> int:
        """Bytes of arguments that wait for `owner`."""
        with self._lock:
            if self._torn:
                self._mend()
            line = self._lines.get(owner)
            return 0 if line is None else line.size

    def hold(self, owner: bytes) -> None:
        """Let what waits for `owner` wait on, until `release`; not once the last job waits."""
        with self._lock:
            self._begin()
            if self._last is None:
                self.count -= self._lines.hold(self._lines.of(owner))
            self._torn = False

    def release(self, owner: bytes) -> None:
        """Give `owner` its turns again."""
        with self._lock:
            self._begin()
            line = self._lines.get(owner)
            if line is not None:
                self.count += self._lines.release(line)
            self._torn = False

    def leave(self, owner: bytes) -> None:
        """Note that `owner` is connected no longer: what waits for it runs, and that is all."""
        with self._lock:
            self._begin()
            line = self._lines.get(owner)
            if line is not None:
                self.count += self._lines.release(line)
                line.kept = False
                self._lines.forget_if_over(line)
            self._torn = False
        self._tell_relieved()

    def holds_init(self) -> bool:
        """Whether an init waits."""
        with self._lock:
            if self._torn:
                self._mend()
            return self._lines.inits > 0

    def find(self, owner: bytes, request: int) -> J | None:
        """The job of that request, if it waits."""
        with self._lock:
            if self._torn:
                self._mend()
            last = self._last
            if last is not None and (last.owner, last.request) == (owner, request):
                return last
            line = self._lines.get(owner)
            return None if line is None else line.find(request)

    def withdraw(self, owner: bytes, request: int) -> bool:
        """Take a job out before it runs; False if it doesn't wait here, or must run.

        An execute whose client doesn't wait was receipted when it came: what has a receipt
        is not withdrawn. `pop` and this exclude each other, so that what was withdrawn
        never runs, and what runs was not withdrawn.
        """
        with self._lock:
            self._begin()
            line = self._lines.get(owner)
            job = None if line is None else line.find(request)
            withdrawn = False
            if line is not None and job is not None and job is not self.taken:
                withdrawn = self._lines.withdraw(line, job)
                if withdrawn and not line.held:
                    self.count -= 1
            self._torn = False
        self._tell_relieved()
        return withdrawn

    def clear(self) -> list[J]:
        """Take everything out; what was pushed last comes last."""
        with self._lock:
            self._begin()
            self.count += self._lines.release_all()
            self._torn = False
        taken = []
        while (job := self.pop()) is not None:
            self.taken = None
            taken.append(job)
        return taken

    def _tell_relieved(self) -> None:
        """Have the lines read again that have room again; see the module's docstring."""
        relieved = self._lines.relieved
        while relieved:
            with self._lock:
                first = next(iter(relieved.items()), None)
            if first is None:
                return
            self._drained(first[1])
            relieved.pop(first[0], None)

    # All below is called with the lock

    def _begin(self) -> None:
        """Begin a change of what is derived: torn from here on, until its caller is through."""
        if self._torn:
            self._mend()
        self._torn = True

    def _line_up(self, job: J, line: Line[J]) -> bool:
        """Append `job`; whether `line` is full now."""
        if not line.held:
            self.count += 1
        return self._lines.add(job, line)

    def _pop_last(self) -> J | None:
        """Take the job that waits until all others have run, if there is one."""
        if self._last is None:
            return None
        job = self.taken = self._last
        self._last = None
        self.count -= 1
        return job

    def _mend(self) -> None:
        """Count anew what an exception may have left half done: a signal handler's, say."""
        taken, lines = self.taken, self._lines
        if taken is not None:  # it waits no more, wherever taking it out was struck
            if self._last is taken:
                self._last = None
            lines.take_out(taken)
        self.count = lines.mend() + (self._last is not None)
        self._torn = False
