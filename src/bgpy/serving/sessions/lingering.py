"""How a session that the server closes lingers, so that its client can read what it was told.

::

    what waits is sent ─► this side is ended ─► what comes is dropped ─► the client's side ends

Closed over unread bytes the connection would be reset, and what the client has not read yet
would be thrown away. So what still comes is read and dropped, until the client ends its side
or some time is over. All of it belongs to the thread that polls, and each step may be done
again where an exception has struck it.
"""

from __future__ import annotations

from bgpy.serving.io.poller import READ, WRITE
from bgpy.serving.io.reactor import Deadline
from bgpy.serving.io.transport import Transport
from bgpy.serving.sessions.outflow import Outflow
from bgpy.serving.sessions.watch import Watch

LINGER = 1.0
"""Seconds that a client has to read what it was told before the connection closes."""


class Lingering:
    """The end of one session; made when it begins to linger."""

    __slots__ = ("_half_closed", "_outflow", "_transport", "_watch", "deadline")

    def __init__(
        self, transport: Transport, outflow: Outflow, watch: Watch, deadline: Deadline
    ) -> None:
        self._transport = transport
        self._outflow = outflow
        self._watch = watch
        self._half_closed = False
        self.deadline = deadline
        """When the session closes whatever its client does."""

    def end_side(self) -> bool:
        """End this side once everything has left; False if nothing can be sent any more."""
        if self._outflow.lost is not None:
            return False
        if self._outflow.waiting:
            self._watch.set(READ | WRITE)
            return True
        self._watch.set(READ)
        if not self._half_closed:
            self._half_closed = True
            self._transport.end()
        return True

    def drop(self, shared: memoryview) -> bool:
        """Drop what has come, received into `shared`; whether the client has ended its side.

        Raises what receiving raises.
        """
        return self._transport.receive_into(shared) == 0
