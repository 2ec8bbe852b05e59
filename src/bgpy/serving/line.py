"""What waits for one client, in its order: a line of the queue (`bgpy.serving.queue`).

A job that is withdrawn stays among the others until its turn comes, since taking it out
would cost as much as there are: it is `gone`. What is gone is bounded, and forgotten
together. All of a line is used with the lock of its queue, and none of it takes longer the
more jobs wait, averaged over the jobs that came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from bgpy.tasks.lifecycle import Kind

MOST_WITHDRAWN = 2**20
"""Bytes of arguments of withdrawn jobs that a line may keep until their turn comes."""


class Waiting(Protocol):
    """What the queue knows of a job."""

    kind: Kind
    waits: bool
    """Its client waits for what the task responds."""
    size: int
    """Bytes of its arguments."""
    more: bool
    """Set when its turn came: more waits behind it for the same client."""

    @property
    def owner(self) -> bytes:
        """Whose turn it takes."""

    @property
    def request(self) -> int:
        """The request's id within its client."""


J = TypeVar("J", bound=Waiting)


class Line(Generic[J]):
    """What waits for one client."""

    __slots__ = (
        "count",
        "full",
        "gone",
        "gone_size",
        "held",
        "index",
        "jobs",
        "kept",
        "owner",
        "size",
    )

    def __init__(self, owner: bytes) -> None:
        self.owner = owner
        self.jobs: deque[J] = deque()
        self.count = 0
        """How many of `jobs` wait: the others are `gone`."""
        self.gone: set[int] = set()
        """Those that were withdrawn, by `id`: taken out when their turn comes, or when they
        are more than the others, or large."""
        self.gone_size = 0
        self.index: dict[int, J] | None = None
        """By request, made when it is first asked for; of two with the same the first."""
        self.size = 0
        """Bytes of arguments."""
        self.full = False
        self.held = False
        self.kept = True
        """It stays when nothing waits: its client is connected, and may come again."""

    def extend(self, jobs: Sequence[J], size: int) -> None:
        """Let `jobs`, whose arguments have `size` bytes together, wait behind the others."""
        self.jobs.extend(jobs)
        self.count += len(jobs)
        self.size += size
        if self.index is not None:
            for job in jobs:
                self.index.setdefault(job.request, job)

    def first(self) -> J:
        """The job whose turn is next; there is one."""
        while self.gone and id(self.jobs[0]) in self.gone:
            self.gone.discard(id(self.jobs.popleft()))
        return self.jobs[0]

    def drop_first(self) -> None:
        """Take out the job that `first` gave, which runs now."""
        job = self.jobs.popleft()
        self.count -= 1
        self.size -= job.size
        if self.index is not None:
            if not self.count:
                self.index = None
            elif self.index.get(job.request) is job:
                del self.index[job.request]

    def find(self, request: int) -> J | None:
        """The job of that request, if it waits here."""
        if self.index is None:
            index: dict[int, J] = {}
            for job in self.jobs:
                if id(job) not in self.gone:
                    index.setdefault(job.request, job)
            self.index = index  # only now: what is struck before is done again
        return self.index.get(request)

    def remove(self, job: J) -> None:
        """Take `job`, which `find` has found, out from between the others."""
        assert self.index is not None
        self.count -= 1
        self.size -= job.size
        self.gone.add(id(job))
        self.gone_size += job.size
        del self.index[job.request]
        if len(self.gone) > self.count or self.gone_size > MOST_WITHDRAWN:
            self.tidy()

    def tidy(self) -> None:
        """Forget what is gone."""
        self.jobs = deque(job for job in self.jobs if id(job) not in self.gone)
        self.gone, self.gone_size = set(), 0

    def mend(self) -> None:
        """Count anew what an exception may have left half done."""
        self.tidy()
        self.index = None
        self.count = len(self.jobs)
        self.size = sum(job.size for job in self.jobs)
