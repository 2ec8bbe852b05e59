"""How a server ends: who has asked for it, and whose exit runs. A state machine, pure.

::

              asked               interrupted
    SERVING ────────► EXITING ───────────────► INTERRUPTED ── closed ─► ENDED
       ▲                 │ unread: nobody else has asked      (from any state)
       └─────────────────┘

An exit message gets the *last turn*: it runs when all that was queued before has run. Those
that come after it are kept. If the exit that has its turn can't be read, nothing has run, and if
its task fails because what it responds can't be sent, the state would be lost with it:
the next one gets the turn, and where nobody else has asked the server keeps serving. Once an
exit has run, all that were kept have what they asked for.

An interrupt (SIGTERM) can't be taken back: whatever becomes of the exits of clients, the
server's own stands behind them.

**The lock** protects the state with `turn` and what is kept. `ask` and `keeps` are called by
the thread that polls, all else by the task thread, but for `unread`, which comes from
either: where an engine runs tasks elsewhere, their ends are told in the thread that polls.
`turn` and `begun` are read without the lock, each a single reference. Neither thread is
held up by anything here. Whoever has moved the state then *settles*: `turn` is put into the
queue, which takes it once only. So an exception that strikes after a transition (a signal
handler's) costs nothing that the next one to settle doesn't make good, and the lock is left
through `with`.
"""

from __future__ import annotations

import threading
from collections import deque
from enum import Enum, auto

from bgpy.serving.job import Job
from bgpy.tasks.lifecycle import Kind


class EndingState(Enum):
    """How far the end is."""

    SERVING = auto()
    EXITING = auto()
    """Clients have asked for the end."""
    INTERRUPTED = auto()
    """The process was asked to end."""
    ENDED = auto()


class EndingEvent(Enum):
    """What moves it."""

    ASKED = auto()
    INTERRUPTED = auto()
    UNREAD = auto()
    """The exit that had its turn can't be read, or its response can't be sent: it doesn't end the
    server, and another one is kept."""
    UNREAD_ALONE = auto()
    """The same, and no other is."""
    CLOSED = auto()


class Taken(Enum):
    """What became of an exit."""

    KEPT = auto()
    TOO_MANY = auto()
    TOO_LATE = auto()
    """The server has ended."""


_S, _E = EndingState, EndingEvent

TRANSITIONS: dict[tuple[EndingState, EndingEvent], EndingState] = {
    (_S.SERVING, _E.ASKED): _S.EXITING,
    (_S.SERVING, _E.INTERRUPTED): _S.INTERRUPTED,
    (_S.SERVING, _E.CLOSED): _S.ENDED,
    (_S.EXITING, _E.ASKED): _S.EXITING,
    (_S.EXITING, _E.INTERRUPTED): _S.INTERRUPTED,
    (_S.EXITING, _E.UNREAD): _S.EXITING,
    (_S.EXITING, _E.UNREAD_ALONE): _S.SERVING,
    (_S.EXITING, _E.CLOSED): _S.ENDED,
    (_S.INTERRUPTED, _E.ASKED): _S.INTERRUPTED,
    (_S.INTERRUPTED, _E.INTERRUPTED): _S.INTERRUPTED,
    (_S.INTERRUPTED, _E.UNREAD): _S.INTERRUPTED,
    (_S.INTERRUPTED, _E.UNREAD_ALONE): _S.INTERRUPTED,
    (_S.INTERRUPTED, _E.CLOSED): _S.ENDED,
    (_S.ENDED, _E.ASKED): _S.ENDED,
    (_S.ENDED, _E.INTERRUPTED): _S.ENDED,
    (_S.ENDED, _E.CLOSED): _S.ENDED,
}
"""The state after each event; a pair that isn't here can't happen."""


class Ending:
    """Who has asked a server to end, and whose exit has the last turn."""

    def __init__(self, most: int, most_bytes: int) -> None:
        """`most` exits are kept, and `most_bytes` of their arguments."""
        # Guards the state, `turn` and what is kept: see the module's docstring.
        self._lock = threading.Lock()
        self._most = most
        self._most_bytes = most_bytes
        self._kept: deque[Job] = deque()
        self._kept_bytes = 0
        self.state = EndingState.SERVING
        self.begun = False
        """Whether new requests are refused: the state isn't SERVING. Each request asks, so it is
        kept, where a property would cost a call."""
        self.turn: Job | None = None
        """The exit that has the last turn; to be put into the queue if it isn't there."""

    def ask(self, exit_job: Job) -> Taken:
        """Keep the exit of a client, until it has its turn or the server has ended."""
        with self._lock:
            if self.state is EndingState.ENDED:
                return Taken.TOO_LATE
            size = self._kept_bytes + exit_job.size
            if self._kept and (len(self._kept) >= self._most or size > self._most_bytes):
                return Taken.TOO_MANY
            self._kept.append(exit_job)
            self._kept_bytes = size
            self._move(EndingEvent.ASKED)
            return Taken.KEPT

    def keeps(self, owner: bytes, request: int) -> bool:
        """Whether that request is an exit that waits for its turn, or for the server's end."""
        with self._lock:
            waiting = [self.turn, *self._kept]
        return any(job and (job.owner, job.request) == (owner, request) for job in waiting)

    def interrupt(self) -> None:
        """Note that the process was asked to end."""
        with self._lock:
            self._move(EndingEvent.INTERRUPTED)

    def unread(self, exit_job: Job) -> None:
        """Note that `exit_job`, whose turn it was, ends nothing: it, or what it responds, can't
        be read or sent."""
        with self._lock:
            if self.turn is not exit_job:
                return  # noted before
            self.turn = None
            self._move(EndingEvent.UNREAD if self._kept else EndingEvent.UNREAD_ALONE)

    def close(self) -> list[Job]:
        """Note that the server ends now; gives the exits that wait to hear it, each once."""
        with self._lock:
            self.turn = None
            self._move(EndingEvent.CLOSED)
            kept = list(self._kept)
            self._kept.clear()
            return kept

    def _move(self, event: EndingEvent) -> None:
        self.state = TRANSITIONS[self.state, event]
        self.begun = self.state is not EndingState.SERVING
        if self.turn is None and self.state in (EndingState.EXITING, EndingState.INTERRUPTED):
            self.turn = self._kept.popleft() if self._kept else Job(Kind.EXIT, None, None, False)
            self._kept_bytes -= self.turn.size
