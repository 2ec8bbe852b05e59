"""What waits for the task thread: each client's requests in order, the clients in turn."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple, Protocol

from bgpy.tasks.engine import Kind
from bgpy.wire.messages import Execute, Exit, Init, Message


class Peer(Protocol):
    """Who asked, as far as a job's way back needs it."""

    @property
    def client_id(self) -> bytes:
        """The same for all connections of one client object."""

    def send(self, message: Message) -> None:
        """Send `message` to the peer, or drop it if the peer is gone."""


class Job(NamedTuple):
    """A request for the task thread; without a peer it is the server's own."""

    kind: Kind
    peer: Peer | None
    message: Init | Execute | Exit | None
    waits: bool

    @property
    def owner(self) -> bytes:
        """Whose turn it takes."""
        return b"" if self.peer is None else self.peer.client_id

    @property
    def request(self) -> int:
        """The request id within its client."""
        return 0 if self.message is None else self.message.request


class JobQueue:
    """A queue per client, served in turn; `pop` gives the last job when all others have run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns: deque[bytes] = deque()
        self._waiting: dict[bytes, deque[Job]] = {}
        self._last: Job | None = None
        self.count = 0
        """How many wait; read without the lock by whoever looks whether there is work."""

    def push(self, job: Job, owner: bytes) -> None:
        """Append `job` to what waits for `owner`."""
        with self._lock:
            waiting = self._waiting.get(owner)
            if waiting is None:
                waiting = self._waiting[owner] = deque()
                self._turns.append(owner)
            waiting.append(job)
            self.count += 1

    def push_last(self, job: Job) -> bool:
        """Keep `job` until everything else has run; False if another is kept already."""
        with self._lock:
            if self._last is not None:
                return False
            self._last = job
            self.count += 1
            return True

    def pop(self) -> Job | None:
        """Take the next job, or None."""
        with self._lock:
            if self._turns:
                owner = self._turns.popleft()
                waiting = self._waiting[owner]
                job = waiting.popleft()
                if waiting:
                    self._turns.append(owner)
                else:
                    del self._waiting[owner]
            elif self._last is not None:
                job, self._last = self._last, None
            else:
                return None
            self.count -= 1
            return job

    def holds(self, kind: Kind) -> bool:
        """Whether a job of that kind waits."""
        with self._lock:
            return any(job.kind is kind for jobs in self._waiting.values() for job in jobs)

    def has(self, owner: bytes, request: object) -> bool:
        """Whether that request waits."""
        with self._lock:
            jobs = [*self._waiting.get(owner, ()), *([self._last] if self._last else [])]
            return any((job.owner, job.request) == (owner, request) for job in jobs)

    def withdraw(self, owner: bytes, request: int) -> bool:
        """Take a job out before it runs; False if it doesn't wait here."""
        with self._lock:
            waiting = self._waiting.get(owner, ())
            job = next((job for job in waiting if job.request == request), None)
            if job is None or not isinstance(waiting, deque):
                return False
            waiting.remove(job)
            if not waiting:
                del self._waiting[owner]
                self._turns.remove(owner)
            self.count -= 1
            return True

    def clear(self) -> list[Job]:
        """Take everything out; what was pushed last comes last."""
        taken = []
        while (job := self.pop()) is not None:
            taken.append(job)
        return taken
