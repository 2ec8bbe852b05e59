"""How a session that the server closes lingers, so that its client can read what it was told.

::

    LEAVING       what waits is sent; then this side is ended
    HALF_CLOSED   what comes is dropped, until the client ends its side

Closed over unread bytes the connection would be reset, and so it would be by whatever comes after
that; what the client has not read yet would be thrown away. So what still comes is read and dropped
in both states (`bgpy.serving.sessions.life`), for `LINGER` seconds at most. All of it belongs to
the thread that polls, and each step may be done again where an exception has struck it.
"""

from __future__ import annotations

from bgpy.serving.io.poller import READ, WRITE
from bgpy.serving.io.transport import Transport
from bgpy.serving.sessions.life import SessionEvent, SessionState
from bgpy.serving.sessions.outflow import Outflow
from bgpy.serving.sessions.watch import Watch
from bgpy.system.strikes import is_strike

LINGER = 1.0
"""Seconds that a client has to read what it was told before the connection closes."""

QUIET = 0.01
"""Seconds for which nothing comes from any client before a server that ends waits no longer.

Most are idle then: they have been told, and will read it when they want something next.
"""


def send_last(
    state: SessionState, transport: Transport, outflow: Outflow, watch: Watch
) -> SessionEvent | None:
    """End this side once everything has left; what that brings about in `state`.

    What is said after that is lost, and ends nothing: a deferred answer that comes too late, say.
    """
    if state is SessionState.HALF_CLOSED:
        watch.set(READ)
        return None
    if outflow.lost is not None:
        return SessionEvent.OVER
    if outflow.waiting:
        watch.set(READ | WRITE)
        return None
    watch.set(READ)
    transport.end()
    return SessionEvent.SENT


def drop(transport: Transport, shared: memoryview) -> bool:
    """Drop what has come, received into `shared`; whether the client has ended its side.

    That it failed, or reset the connection, is an end too.
    """
    try:
        return transport.receive_into(shared) == 0
    except OSError as error:
        if is_strike(error):
            raise
        return True
