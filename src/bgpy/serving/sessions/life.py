"""The life of a session, from the first byte to the last: a state machine, pure.

::

                proved                unsendable
    PROVING ─────────────► OPEN ──────────────────► LOST
       │                    │                         │
       ├────────────────────┤ farewell                │ over
       ▼                    ▼                         ▼
     LEAVING ──── sent ──► HALF_CLOSED ── over ──► CLOSING ── told ──► CLOSED
                                                   (over: from any state)

While a session is PROVING, OPEN or LOST, what comes from its client is acted on. While it
is LEAVING or HALF_CLOSED, it *lingers*: the client is told why it is closed, and what still
comes from it is dropped (`bgpy.serving.sessions.lingering`).

What moves a session is noted when it has been done, so that what an exception has struck is
done again; only CLOSING stands before what it says, since nothing may come in between.
"""

from __future__ import annotations

from enum import Enum, auto


class SessionState(Enum):
    """Where a session is in its life."""

    PROVING = auto()
    """Its client has not proved the token."""
    OPEN = auto()
    LOST = auto()
    """Nothing can be sent to its client any more: what that sent before still counts."""
    LEAVING = auto()
    """The last words wait for the socket to take them."""
    HALF_CLOSED = auto()
    """They have left, and this side of the connection has ended; the client's has not."""
    CLOSING = auto()
    """Nothing is read, sent or kept any more; what is given back may not all be yet."""
    CLOSED = auto()
    """Its owner knows."""


class SessionEvent(Enum):
    """What moves it."""

    PROVED = auto()
    """The client has proved the token."""
    UNSENDABLE = auto()
    """The socket takes nothing any more."""
    FAREWELL = auto()
    """The session closes, and its client is told why."""
    SENT = auto()
    """The last words have left."""
    OVER = auto()
    """The connection closes now: its client has left, has failed, or has had its time."""
    TOLD = auto()
    """All is given back, and the owner has been told."""


_S, _E = SessionState, SessionEvent

TRANSITIONS: dict[tuple[SessionState, SessionEvent], SessionState] = {
    (_S.PROVING, _E.PROVED): _S.OPEN,
    (_S.PROVING, _E.FAREWELL): _S.LEAVING,
    (_S.PROVING, _E.OVER): _S.CLOSING,
    (_S.OPEN, _E.UNSENDABLE): _S.LOST,
    (_S.OPEN, _E.FAREWELL): _S.LEAVING,
    (_S.OPEN, _E.OVER): _S.CLOSING,
    (_S.LOST, _E.OVER): _S.CLOSING,
    (_S.LEAVING, _E.SENT): _S.HALF_CLOSED,
    (_S.LEAVING, _E.OVER): _S.CLOSING,
    (_S.HALF_CLOSED, _E.OVER): _S.CLOSING,
    (_S.CLOSING, _E.OVER): _S.CLOSING,
    (_S.CLOSING, _E.TOLD): _S.CLOSED,
}
"""The state after each event; a pair that isn't here can't happen."""

ACTED_ON = (_S.OPEN, _S.PROVING, _S.LOST)
"""The states in which what comes is acted on."""
LINGERS = (_S.LEAVING, _S.HALF_CLOSED)
"""Those in which it is dropped."""
