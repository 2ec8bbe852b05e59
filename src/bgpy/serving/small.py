"""Small calls: executes of one small plain frame, whose client waits; see `bgpy.serving.road`.

::

    alone     socket ──► SmallJob ──► the task ──► reply ──► socket
    together  socket ──► SmallRow.jobs ──► the task, one by one ──► SmallRow.replies ──► socket
                           └── spill: what hasn't run waits in its client's line, as all else does

**A row** is what came together from one client, while no job waited. The task thread runs it
without queueing each call, and its replies leave together. It takes one after the other out of
`jobs` while nobody polls: who polls next spills the row first, and each job goes one of both ways,
since taking it out is one step. So what is asked about a call, to cancel it for example, finds it
in the queue or `taken`, and no client waits for longer than two milliseconds of a row.

**Replies** are added by the thread that runs the call, and flushed by that or by the standby,
which has spilled what stood behind it. Who adds one looks afterwards whether anything is still
behind it: if not, it flushes; if so, the thread that empties `jobs` flushes after that. So one of
the two sees the other, and no reply stays. What strikes while they are flushed leaves them to be
flushed again: a reply that has left may leave twice, and the client drops the second.
"""

from __future__ import annotations

from collections import deque

from bgpy.forks import OwnLock
from bgpy.serving.job import Job, Peer
from bgpy.tasks.client_socket import OwnClientSocket
from bgpy.tasks.lifecycle import EXEC

MOST_REPLIES = 64
"""Replies of a row that leave together, at most: of less than 4 KiB each, since a larger one leaves
by itself."""


# Around `SmallRow.flush`, of all rows: a process has one at a time, mostly. Reentrant, since the
# collector may run code there that sends. A child of a fork has a new one: the standby, which may
# have been flushing, isn't there.
_flushing = OwnLock()


class SmallJob(Job, OwnClientSocket):
    """A small call. It is the client socket that its task gets, too."""

    kind = EXEC
    payload = None
    size = 0
    """Given to those alone that may wait in the queue."""
    peer: Peer
    head: bytearray
    """The pickle of its arguments."""
    row: SmallRow | None
    """What it runs in, if it came with others and isn't queued."""

    # Whoever makes one sets what each has of its own (`bgpy.serving.road`): that takes half the
    # time of an initialiser of Python's.
    __init__ = object.__init__


class SmallRow:
    """Small calls that came together from one client."""

    __slots__ = ("_peer", "jobs", "replies")

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.jobs: deque[Job] = deque()
        """Those that have not been taken."""
        self.replies: list[bytes] = []
        """Those that have not left, in their final form (`bgpy.wire.small`)."""

    @property
    def owner(self) -> bytes:
        """Whose calls they are."""
        return self._peer.client_id

    def flush(self) -> None:
        """Send the replies that haven't left; nothing happens where there are none."""
        with _flushing.here:
            count = len(self.replies)
            if count:
                self._peer.send_small(b"".join(self.replies[:count]), False)
                del self.replies[:count]

    def pause(self) -> None:
        """Have no more read from the client: its line is full."""
        self._peer.pause()
