"""Who of a client's threads reads its connection: plain state, one critical section a method.

::

    nobody ──`shortcut`──► a caller that waits ──leave──► nobody     a lone call: no hand-over
       └──enter──► a caller ◄── others come and sleep, the standby is asked
                      └──leaves, or is struck down──► the standby reads ──rest──► nobody

A turn is a lock of the thread that reads, which holds it by ``with`` as long as it does:
whatever is raised there, the lock is released, and by that alone the standby, which waits
for it, knows that it is its turn. So nothing that an interrupted thread would have to do
is needed by others. The standby is a thread of bgpy's, which no signal handler runs in.

A lone call takes the turn in `shortcut`, where that is written out: only if nobody has it and the
standby wasn't asked, so that no mark can have been left of a read that was struck down. It holds
its turn's lock before that, so it needn't look again whether it still has the turn.

A thread that would have to sleep sees to it first that the standby was asked. It is
asked first and noted as such second: if that is interrupted in between it is asked again.
"""

from __future__ import annotations

from typing import Generic, TypeVar

LONE_ANSWERS = 8
"""Answers in a row after which nothing was under way, before the standby rests: a thread
that calls alone is faster when it reads for itself."""

Turn = TypeVar("Turn")


class Turns(Generic[Turn]):
    """Whose turn it is to read. All but `leave` are called with the channel's lock held."""

    def __init__(self) -> None:
        self.reader: Turn | None = None
        """Whose turn it is, if that one also holds its lock."""
        self.asked = False
        """Whether the standby was asked, and has not rested since: it reads, or will, and nobody
        else begins then. What is submitted needs no more than that."""
        self._lone = 0

    def enter(self, turn: Turn) -> bool:
        """Whether the caller with that turn is to read: it takes its lock, and looks again.

        If not it sleeps, when the standby has been asked.
        """
        if self.asked or (self.reader is not None and self.reader is not turn):
            return False  # one's own is left from a call that was struck down
        self.reader = turn
        return True

    def note_asked(self) -> None:
        """Take note that the standby was asked."""
        self.asked = True

    def leave(self) -> None:
        """Read no longer; called by who reads, with the lock of its own turn held.

        Without the channel's lock: nobody else changes `reader` while that turn is held.
        """
        self.reader = None

    def look(self, turn: Turn) -> Turn | None:
        """The standby's: takes the turn, or gives the one whose end it has to wait for."""
        if self.reader is None or self.reader is turn:
            self.reader = turn
            self._lone = 0
            return None
        return self.reader

    def succeed(self, before: Turn, turn: Turn) -> None:
        """The standby's, with the lock of `before` held: that thread doesn't read."""
        if self.reader is before:
            self.reader = turn

    def rest(self, under_way: bool, at_once: bool) -> bool:
        """The standby's, after it handed out answers: whether it reads no longer."""
        if under_way:
            self._lone = 0
            return False
        self._lone += 1
        if self._lone < LONE_ANSWERS and not at_once:
            return False
        self.reader = None
        self.asked = False
        return True
