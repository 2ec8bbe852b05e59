"""Which answer belongs to which call: the core of every client, without I/O or threads."""

from __future__ import annotations

from collections.abc import Callable

from bgpy.errors import ServerGone
from bgpy.system.latch import Latch
from bgpy.wire.messages import Message

Answer = Message | ServerGone
"""What a request ends in."""

Done = Callable[[Answer], None]
"""Takes the answer of a request that no thread waits for."""


class Pending:
    """A request under way; `answer` is its one answer, once that is here."""

    __slots__ = ("answer", "done", "gate", "request")

    def __init__(self, request: int, done: Done | None) -> None:
        self.request = request
        self.answer: Answer | None = None
        self.done = done
        self.gate: Latch | None = None
        """What its thread sleeps on while another one reads for it."""

    def wake(self) -> None:
        """Wake its thread, if that sleeps; may be repeated where it was interrupted."""
        if self.gate is not None:
            self.gate.open()
            self.gate = None


class Calls:
    """The requests of one connection that wait for an answer."""

    def __init__(self) -> None:
        self.pending: dict[int, Pending] = {}
        """Empty if nobody waits."""

    def begin(self, request: int, done: Done | None = None) -> Pending:
        """Expect the answer of `request`."""
        self.pending[request] = pending = Pending(request, done)
        return pending

    def abandon(self, pending: Pending) -> None:
        """Wait no longer: a late answer will be dropped."""
        self.pending.pop(pending.request, None)

    def take(self, request: int) -> Pending | None:
        """The call that an answer belongs to, no longer under way; None if nobody waits."""
        return self.pending.pop(request, None)

    def fail(self, error: ServerGone) -> dict[int, Pending]:
        """Answer all that is under way with `error`; gives what it was, by request id."""
        failed, self.pending = self.pending, {}
        for pending in failed.values():
            if pending.answer is None:
                pending.answer = error
        return failed

    def sleeper(self) -> Pending | None:
        """One of those whose thread sleeps, to be woken so that it reads for the others."""
        for pending in list(self.pending.values()):  # others begin meanwhile
            if pending.gate is not None:
                return pending
        return None
