"""The short road of what comes most: small plain executes whose clients wait.

::

    bytes ─► session ─► messages ─► requests ─► the queue, one by one ─► worker     general
                └─────────── take ───────────► its lone place, or a row ────┘       short

The general road says what is right. `take` does the same in fewer steps where all that it
may meet is known beforehand, and leaves all else to the general road: it has no effect on
that. One suite runs over both (``make test-general``): the general one alone serves where
``BGPY_ROAD`` is ``general`` in the environment (docs/design/0026).

It is called by the thread that polls, as `Requests` is, and a strike there is the session's
to bear. What it adds to the queue is added under the queue's lock.
"""

from __future__ import annotations

from collections.abc import Callable

from bgpy.config import short_roads
from bgpy.serving.budget import Overloaded
from bgpy.serving.ending import Ending
from bgpy.serving.job import Job, Peer, SmallJob
from bgpy.serving.queue import JobQueue
from bgpy.tasks.engine import Engine
from bgpy.wire.frames import HEADER_SIZE
from bgpy.wire.small import EXECUTE, SMALL_CALL, unpack_start

Take = Callable[[Peer, memoryview, int], int]
"""Queues the small executes that stand at the front of that many bytes, which begin where a
frame does, in a buffer that is no shorter than a header; how many bytes those were."""


def road(jobs: JobQueue[Job], engine: Engine, ending: Ending, max_message: int) -> Take:
    """The road into `jobs`."""
    most = min(SMALL_CALL, max_message)

    def take(peer: Peer, data: memoryview, size: int) -> int:
        if ending.begun or not engine.initialized:
            return 0
        # Where less than a header has come, what is read here ends behind it.
        start, length, request = unpack_start(data)
        end: int = HEADER_SIZE + length
        if start != EXECUTE or end > size or length > most:
            return 0
        job = SmallJob(peer, request, data[HEADER_SIZE:end].tobytes())
        if end == size and not jobs.count and jobs.push_lone(job):
            return size
        row = [job]
        while size - end >= HEADER_SIZE:
            start, length, request = unpack_start(data, end)
            after = end + HEADER_SIZE + length
            if start != EXECUTE or after > size or length > most:
                break
            row.append(SmallJob(peer, request, data[end + HEADER_SIZE : after].tobytes()))
            end = after
        try:
            if jobs.push_row(row, peer.client_id):
                peer.pause()
        except Overloaded:
            return 0  # the general road takes what there is room for
        return end

    return take if short_roads() else _leave


def _leave(peer: Peer, data: memoryview, size: int) -> int:
    """Leave all to the general road."""
    return 0
