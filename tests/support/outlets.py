"""Where the answers to a call leave, in tests: they are kept."""

from __future__ import annotations

import threading
from typing import Any, cast

from bgpy.serving.job import Peer
from bgpy.serving.small import SmallJob, SmallRow
from bgpy.tasks.client_socket import ClientSocket, SmallOutlet


class Outlet:
    """Keeps what was sent through it, whichever call it answers."""

    def __init__(self) -> None:
        self.replies: list[tuple[Any, bool]] = []
        self.failures: list[BaseException] = []
        self.dropped: list[Any] = []
        self.settled_calls: list[Any] = []
        self.refusal: BaseException | None = None
        self.failed = threading.Semaphore(0)

    def reply(self, call: Any, response: Any, error: bool) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.replies.append((response, error))

    def reply_small(self, call: Any, response: Any) -> None:
        self.reply(call, response, False)

    def fail(self, call: Any, failure: BaseException) -> None:
        self.failures.append(failure)
        self.failed.release()

    def drop(self, call: Any) -> None:
        self.dropped.append(call)

    def settled(self, call: Any) -> None:
        self.settled_calls.append(call)


def through(outlet: Outlet, waits: bool = True, call: Any = 1) -> ClientSocket:
    """The client socket of a call whose answers go to `outlet`."""
    return ClientSocket(outlet, call, waits)


def small_job(
    outlet: SmallOutlet, peer: Peer, request: int, head: bytes, row: SmallRow | None = None
) -> SmallJob:
    """A small call as the road makes it."""
    job = SmallJob()
    job.outlet, job.peer, job.request, job.row = outlet, peer, request, row
    job.head = bytearray(head)
    job.more = job.started = job.answered = False
    job.deferred = None
    return job


def small(outlet: Outlet) -> ClientSocket:
    """A small call, which is its own client socket, and whose answers go to `outlet`."""
    return small_job(outlet, cast(Peer, None), 1, b"")
