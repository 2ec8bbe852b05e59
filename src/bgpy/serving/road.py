"""The short road of what comes most: small plain executes whose clients wait.

::

    bytes ─► session ─► messages ─► requests ─► queue ─► worker     general
                ├────────────── take_row ────────┘          │       short: several at once
                └────────────── take_alone ─────────────────┘       shortest: one alone

The general road says what is right. This one does the same in fewer steps where all that it
may meet is known beforehand, and leaves all else to the general road: it has no effect on
that. One suite runs over both (``make test-general``): the general one alone serves where
``BGPY_ROAD`` is ``general`` in the environment (docs/design/0026).

It is called by the thread that polls, as `Requests` is, and a strike there is the session's
to bear. What it adds to the queue is added under the queue's lock. A call is *alone* if its
client has sent no other with it and no job waits. It is not queued: the thread that polls is
the task thread then, which has nothing to run, and takes it at once. Nobody else pops or pushes
meanwhile, and who looks for it finds it `taken`. Other clients may have sent something as well:
the task thread has polled for one socket, and the next poll gives another.
"""

from __future__ import annotations

from bgpy.config import short_roads
from bgpy.serving.budget import Overloaded
from bgpy.serving.ending import Ending
from bgpy.serving.job import Job, Peer
from bgpy.serving.outbox import Outbox
from bgpy.serving.queue import JobQueue
from bgpy.serving.small import SmallJob, SmallRow
from bgpy.tasks.engine import Engine
from bgpy.wire.frames import HEADER_SIZE
from bgpy.wire.small import EXECUTE, SMALL_CALL, unpack_start

LONGEST_SMALL = HEADER_SIZE + SMALL_CALL
"""Bytes of a message that goes by a short road, at most; where fewer are allowed it is closed."""


class Road:
    """The road into `jobs`.

    What is received starts where a frame does, in a buffer no shorter than a header.
    """

    def __init__(
        self,
        jobs: JobQueue[Job],
        engine: Engine,
        outbox: Outbox,
        ending: Ending,
        max_message: int,
    ) -> None:
        self._jobs = jobs
        self._outbox = outbox
        self._engine = engine
        self._ending = ending
        self._most = SMALL_CALL if short_roads() and max_message >= LONGEST_SMALL else -1

    def take_alone(self, peer: Peer, data: bytearray, size: int) -> bool:
        """Take the one small execute that `size` bytes of `data` are; whether they are one.

        Called by the task thread while it polls and no job waits.
        """
        start, length, request = unpack_start(data)
        if (
            start != EXECUTE
            or length != size - HEADER_SIZE
            or length > self._most
            or self._ending.begun
            or not self._engine.initialized
            or self._jobs.held_lines
        ):
            return False
        job = SmallJob()
        job.outlet, job.peer, job.request = self._outbox, peer, request
        job.head = data[HEADER_SIZE:size]
        job.row = job.deferred = None
        job.more = job.started = job.answered = False
        self._jobs.taken = job
        return True

    def take_row(self, peer: Peer, data: bytearray, size: int, alone: bool) -> int:
        """Take the small executes at the front of `size` bytes of `data`; how many bytes they are.

        They run as a row if they are all that came, and are read `alone`: by the task thread, while
        no job waits. Else they are queued. 0 leaves all to the general road.
        """
        if self._ending.begun or not self._engine.initialized:
            return 0
        row = SmallRow(peer)
        jobs: list[SmallJob] = []
        outbox, most, end = self._outbox, self._most, 0
        while size - end >= HEADER_SIZE:
            start, length, request = unpack_start(data, end)
            after = end + HEADER_SIZE + length
            if start != EXECUTE or after > size or length > most:
                break
            job = SmallJob()
            job.outlet, job.peer, job.request, job.row = outbox, peer, request, row
            job.head = data[end + HEADER_SIZE : after]
            job.deferred = None
            job.more = job.started = job.answered = False
            job.size = length
            jobs.append(job)
            end = after
        if not end or (alone and end == size and self._jobs.begin_row(row, jobs)):
            return end
        for job in jobs:
            job.row = None
        try:
            full = self._jobs.push_row(jobs, peer.client_id)
        except Overloaded:
            return 0  # the general road takes what there is room for
        if full:
            peer.pause()
        return end
