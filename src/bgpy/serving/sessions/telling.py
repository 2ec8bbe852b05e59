"""What leaves through a session over a socket that tells how much it took.

A socket of the system's is asked from C, so that nothing strikes between what it took and noting
it (see `outflow`). One that is written in Python would be called from there in a slow way, and can
note that itself: `told` is the last that its `send` sets, with nothing called behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from bgpy.config import Limits
from bgpy.memory import Piece
from bgpy.serving.budget import Budget
from bgpy.serving.io.transport import Transport
from bgpy.serving.sessions.outflow import Outflow


class Teller(Protocol):
    """Such a socket."""

    told: int
    """How many bytes its last `send` took, once it is through."""

    def send(self, data: Piece, /) -> int:
        """Bytes taken of `data`."""


def outflow_over(
    transport: Transport, limits: Limits, budget: Budget, attend: Callable[[], None]
) -> Outflow:
    """The outflow for the kind of socket that `transport` has."""
    sock = transport.sock
    if not hasattr(sock, "told"):
        return Outflow(transport, limits, budget, attend)
    outflow = TellingOutflow(transport, limits, budget, attend)
    outflow.teller = cast(Teller, sock)
    return outflow


class TellingOutflow(Outflow):
    """An outflow over a `teller`."""

    __slots__ = ("teller",)
    teller: Teller

    def send_small(self, piece: bytes, more: bool) -> None:
        """As that of any outflow, step by step."""
        if more:
            if not self.gather(piece):
                self.send((piece,), True)
            return
        teller, taken, mine = self.teller, -1, False
        try:
            with self._lock:
                if self._usable and not self._busy and self._unsent is None:
                    teller.told = -1
                    self._busy = mine = True
                    teller.send(piece)
                    taken = teller.told
                    if taken == len(piece) and not self._inbox:
                        mine = False  # before another may be busy
                        self._busy = False
                        return
                    raise BlockingIOError
        except BaseException as error:
            if mine:
                taken = teller.told
                self._offered = (piece,), [taken] if taken >= 0 else []
                self._torn = True
            elif taken < 0:
                self._inbox.append(((piece,), False))
            self._mend_small(error)
        else:
            self.send((piece,), False)
