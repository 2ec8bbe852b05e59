"""What leaves through one session, from whichever thread it comes.

::

    send ──► nothing waits, and the socket takes it ──────────────────► gone
      │ └──► the reader takes it as fast as a copy is made: streamed ──► gone
      ├────► more follows at once: gathered, until the next poll
      └────► else kept in a buffer until the socket is writable

**Who sends.** One thread at a time is *busy*: it alone touches socket and buffer. The
lock makes one busy, and is held while that takes no time; a thread that streams is busy
without it. A thread that finds another at work leaves its message in the inbox, with copies
of the user's memory. The one at work looks into the inbox, under the lock, before it is
busy no more: so what was left there before is seen, and a thread that comes later finds
nobody at work. No message waits for a wake-up.

**Who may come back.** The collector may run a `__del__`, and a signal a handler, that
sends through this session while its thread is at work here. The lock is reentrant, so it
comes in, finds its own thread busy, and leaves its message in the inbox.

**What an exception there does** (a handler of a task's may raise at each look that the
interpreter takes for signals: as a function begins, and when a call of C has returned).
What is offered to the socket is noted before, or first of all when it was struck; and what
it took in the same step as the call that took it: `list.extend` of a `map` of the socket's own
method is one step, and so is the head of a loop over one. A mark
that something was done is set before it is done, where nothing is called between the two.
So what is left is known: it is put aside by the thread that was struck, which raises the
exception then; were that struck as well, *torn* is left, and the thread that polls does it.
A message leaves whatever `send` raises, but where that was struck before its first step.

The thread never waits for a reader: it streams as long as a copy would take, no longer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic

from bgpy.config import Limits
from bgpy.memory import Piece
from bgpy.serving.budget import Budget
from bgpy.serving.io.transport import Transport
from bgpy.serving.sessions.send_buffer import PIECE, SendBuffer, after, owned, size_of
from bgpy.serving.sessions.unread import Unread
from bgpy.system.strikes import is_strike

PATIENCE = 0.002
"""Seconds that a reader may take to begin with large replies, before a copy is kept."""

COPIED = 10.0**9
"""Bytes copied in a second, about: a reader that takes as many is worth staying with."""

MOST_GATHERED = 2**16
"""Bytes of replies that are gathered at most before they leave."""

Entry = tuple[Sequence[Piece], bool]
"""A message, and whether it may wait for the next one."""

Offer = tuple[Sequence[Piece], list[int]]
"""What is offered to the socket, and how many bytes of it that took, once it did."""


class Outflow:
    """Sends, gathers and keeps the messages of one session."""

    __slots__ = (
        "_attend",
        "_busy",
        "_flushed",
        "_gathering",
        "_inbox",
        "_lock",
        "_offered",
        "_open",
        "_send_piece",
        "_torn",
        "_transport",
        "_unsent",
        "_usable",
        "lost",
        "taken",
        "unread",
    )

    def __init__(
        self, transport: Transport, limits: Limits, budget: Budget, attend: Callable[[], None]
    ) -> None:
        """`attend` has the thread that polls call `flush`, and read `lost` and `unread`, soon."""
        self._transport = transport
        self._send_piece = transport.sock.send  # found once: it is called for each reply
        self._attend = attend
        # Guards all below but for what is streamed; see "Who sends" above. Taken by each thread
        # that sends and by the one that polls, for no longer than a system call.
        self._lock = threading.RLock()
        self._busy = False
        self._torn = False  # who was busy was struck, and has not mended it yet
        self._inbox: list[Entry] = []  # short, and empty in most; both its steps are one of C
        self._offered: Offer | None = None
        """What is on its way into the socket, or into the buffer."""
        self._flushed: Offer | None = None
        """Likewise, of what the buffer has."""
        self._unsent: SendBuffer | None = None  # None: the socket takes bytes at once
        self.unread = Unread(budget, limits.max_unsent)
        """What is unsent, as the budget knows it."""
        self._gathering = False  # what is unsent waits for more, not for the socket
        self._open = True
        self._usable = True  # open, and not lost: asked for each reply
        self.lost: BaseException | None = None
        """Why nothing can be sent any more."""
        self.taken = 0
        """Bytes that the socket took later than they were sent, ever."""

    @property
    def waiting(self) -> bool:
        """Whether bytes wait for the socket to take them."""
        return self._unsent is not None

    @property
    def size(self) -> int:
        """How many do, with what keeping them takes."""
        unsent = self._unsent
        return 0 if unsent is None else unsent.size

    def send(self, pieces: Sequence[Piece], more: bool) -> None:
        """Send `pieces`, or keep what the socket doesn't take; dropped if the client is gone.

        With `more` they may wait for what is sent next, but no longer than to the next poll.
        """
        mine = done = noted = False
        try:
            with self._lock:
                if self._busy:
                    entry = owned(pieces), more
                    done = True  # nothing strikes from here until it is there
                    self._inbox.append(entry)
                    if self._torn:
                        self._attend()
                    return
                mine = True
                self._busy = True
                record: list[int] = []
                self._offered = (pieces, record)
                noted = True
                left = self._take(pieces, more, record)
                if left is None and not self._inbox:
                    done, mine = True, False
                    self._busy = False
                    return
            self._go_on(left)
        except BaseException:
            if mine and not noted:
                self._offered = (pieces, [])
            self._torn = self._torn or mine
            if not (mine or done):
                self._inbox.append((owned(pieces), more))
            self._attend()
            self._mend()
            raise

    def send_small(self, piece: bytes, more: bool) -> None:
        """As `send` of one small piece: what is sent most, in fewer steps."""
        if more:
            if not self.gather(piece):
                self.send((piece,), True)
            return
        taken, mine = -1, False
        try:
            with self._lock:
                if self._usable and not self._busy and self._unsent is None:
                    self._busy = mine = True
                    # The loop's head is one step: what was taken is known, whatever strikes.
                    for taken in map(self._send_piece, (piece,)):  # noqa: B007
                        break
                    if taken == len(piece) and not self._inbox:
                        mine = False  # before another may be busy
                        self._busy = False
                        return
                    raise BlockingIOError
        except BaseException as error:
            if mine:
                self._offered = (piece,), [taken] if taken >= 0 else []
                self._torn = True
            elif taken < 0:
                self._inbox.append(((piece,), False))
            self._mend_small(error)
        else:
            self.send((piece,), False)

    def gather(self, piece: bytes) -> bool:
        """As `send` of one small piece that may wait, where it joins others that do: the short way.

        False says that nothing was done: `send` it.
        """
        size = len(piece) + PIECE
        with self._lock:
            # Nothing is called, and nothing made that the collector counts, from here to the
            # append: so nobody comes back in between, who would find this thread not busy and
            # send what it adds to. After it that does no harm: these are counted when they leave.
            unsent = self._unsent
            if self._busy or unsent is None or not self._gathering or unsent.size >= MOST_GATHERED:
                return False
            unsent.pieces.append(piece)
            unsent.size += size
            return True

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it; on the thread that polls."""
        mine = False
        try:
            if self._torn:
                self._mend()
            with self._lock:
                if self._busy:
                    return
                mine = True
                self._busy = True
                self._send_unsent()
                self._take_all()
                self._busy = False
        except BaseException:
            self._torn = self._torn or mine
            self._attend()
            self._mend()
            raise

    def close(self) -> bool:
        """Send no more; whether the socket may be closed, or else who is busy closes it."""
        with self._lock:
            if self._torn:
                self._mend()
            if self._gathering:
                self._send_unsent()
            self._open = False
            self._shut()
            self._attend = _nobody
            return not self._busy

    def close_in_child(self) -> None:
        """In a forked child: drop whatever its task sends.

        Another thread of the parent's, which isn't there, may have been sending: the lock is new.
        """
        self._lock = threading.RLock()
        self._usable = self._open = self._busy = False
        self._attend = _nobody

    # Below `busy` is this thread's

    def _take(
        self, pieces: Sequence[Piece], more: bool, record: list[int]
    ) -> Sequence[Piece] | None:
        """Send or keep `pieces`, which are offered with `record`; what is worth streaming."""
        if not self._usable:
            self._offered = None
            return None
        alone = len(pieces) == 1
        if self._unsent is not None and self._gathering and not alone:
            self._send_unsent()  # so that the user's memory need not be copied
        if not record and (self._unsent is not None or (more and alone)):
            self._keep(pieces, more)
            return None
        if not record and not self._offer(pieces, record):
            return None
        left = after(pieces, record[0] if record else 0)
        if any(isinstance(piece, memoryview) for piece in left):
            return left
        if left:
            self._put_aside(left)
        self._offered = None
        return None

    def _take_all(self) -> None:
        """Send or keep what others have left; called with the lock."""
        inbox = self._inbox
        while inbox:
            pieces, more = inbox[0]
            record: list[int] = []
            self._offered = (pieces, record)
            inbox.pop(0)
            left = self._take(pieces, more, record)
            if left is not None:
                self._put_aside(left)

    def _go_on(self, left: Sequence[Piece] | None) -> None:
        """Stream what is left, and take what came meanwhile; busy no more then."""
        if left is not None:
            left = self._stream(left)
        with self._lock:
            if left and self._open and self.lost is None:
                self._put_aside(left)
            self._offered = None
            self._take_all()
            self._busy = False
            if not self._open:
                self._transport.close()

    def _stream(self, left: Sequence[Piece]) -> Sequence[Piece]:
        """Send from the user's own memory as long as the reader is quick; give back the rest.

        Without the lock: what others send meanwhile waits in the inbox.
        """
        until = monotonic() + PATIENCE
        while self._open:
            record: list[int] = []
            self._offered = (left, record)
            if not self._offer(left, record):
                return ()
            taken = record[0] if record else 0
            self.taken += taken
            left = after(left, taken)
            until += taken / COPIED
            patience = until - monotonic()
            if not left or patience <= 0 or not self._transport.wait_writable(patience):
                break
        return left

    def _keep(self, pieces: Sequence[Piece], more: bool) -> None:
        """Queue `pieces` behind what waits, or to be gathered."""
        if self._unsent is None:
            self._gathering = True
        self._append(pieces)
        if not self._gathering:
            self._count()
        elif not more or self.size >= MOST_GATHERED:
            self._send_unsent()

    def _put_aside(self, left: Sequence[Piece]) -> None:
        """Keep `left` until the socket takes it."""
        self._append(left)
        self._count()

    def _offer(self, pieces: Sequence[Piece], record: list[int]) -> bool:
        """Have the socket take of `pieces`, and note in `record` how much; False at its end.

        Nothing is noted where it has no room now. What a task's signal handler has raised here
        is raised.
        """
        try:
            record.extend(self._transport.sending(pieces))
        except OSError as error:
            if is_strike(error):
                raise
            if not isinstance(error, (BlockingIOError, InterruptedError)):
                self._lose(error)
                return False
        return True

    def _append(self, left: Sequence[Piece]) -> None:
        """Append copies of `left` to what is unsent; see that somebody sends it."""
        try:
            copies = owned(left)
            size = size_of(copies)
            unsent = self._unsent or SendBuffer()
        except MemoryError as error:
            self._lose(error)
            return
        extend = unsent.pieces.extend
        # From here to the end of the call nothing else can happen in this thread.
        self._offered, self._unsent = None, unsent
        extend(copies)
        unsent.size += size
        if unsent.size == size:
            self._attend()

    def _count(self) -> None:
        """Tell the budget what is kept, and the thread that polls if it is too much now."""
        unread = self.unread
        before = unread.clogged
        if not unread.count(self.size):
            self._lose(MemoryError("there is no more room for unread replies (max_memory)"))
        elif unread.clogged and not before:
            self._attend()

    def _send_unsent(self) -> None:
        """Send what waits, as much of it as the socket takes in one call."""
        unsent = self._unsent
        if unsent is None:
            return
        if self._gathering:
            self._gathering = False
            unsent = self._unsent = unsent.joined()
        first = unsent.first()
        record: list[int] = []
        self._flushed = (first, record)
        if not self._offer(first, record):
            return
        taken = record[0] if record else 0
        self.taken += taken
        unsent.took(first, taken)
        self._flushed = None
        if not unsent.pieces:
            self._unsent = None
        self._count()

    def _lose(self, error: BaseException) -> None:
        # Its traceback would keep what was to be sent, and its context what was being read.
        self.lost = error.with_traceback(None)
        error.__context__ = None
        self._shut()
        self._attend()

    def _shut(self) -> None:
        """Take nothing more, and forget what waits."""
        self._usable = False
        self._unsent = self._flushed = self._offered = None
        self._gathering = False
        self._inbox.clear()
        self.unread.forget()

    def _mend(self) -> None:
        """Put aside what an exception has left half sent, and take what waits in the inbox.

        May be done again, by another thread too: the mark goes last.
        """
        with self._lock:
            if self._torn:
                if self._usable:
                    self._keep_the_rest()
                else:
                    self._shut()
                self._offered = self._flushed = None
            elif self._busy:
                return  # who is at work looks into the inbox
            self._busy = self._torn = True
            self._take_all()
            # Nothing is called from here on, but what may be done again.
            self._busy = self._torn = False
            if not self._open:
                self._transport.close()

    def _mend_small(self, error: BaseException) -> None:
        """Mend what `error` has left of a `send_small`; raise it if the program has raised it."""
        self._attend()
        self._mend()  # who flushes meets what the socket has refused again
        if not isinstance(error, OSError) or is_strike(error):
            raise error

    def _keep_the_rest(self) -> None:
        if self._flushed is not None and self._unsent is not None:
            first, record = self._flushed
            self._unsent.took(first, record[0] if record else 0)
        self._flushed = None
        if self._offered is not None:
            pieces, record = self._offered
            if left := after(pieces, record[0] if record else 0):
                # Behind what waits: that was there before, or nothing waits.
                self._append(left)
        self._offered = None
        if self._unsent is not None:
            self._unsent.recount()
            if not self._unsent.pieces:
                self._unsent = None
        self._count()


def _nobody() -> None:
    """The `attend` of an outflow that has closed."""
