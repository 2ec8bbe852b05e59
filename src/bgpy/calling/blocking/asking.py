"""Asks a server to describe itself, over a connection that serves nothing else."""

from __future__ import annotations

import os
from contextlib import suppress
from time import monotonic
from typing import Any

from bgpy.calling.blocking.connecting import RECEIVED, Connected, Target, connect
from bgpy.calling.blocking.dialling import limit
from bgpy.errors import BgpyError
from bgpy.wire.messages import Status, json_object


def description(connected: Connected, seconds: float) -> dict[str, Any] | None:
    """What the server says of itself (docs/protocol.md, Status); None if it doesn't in time."""
    sock, connection = connected.reached.sock, connected.connection
    deadline, buffer = monotonic() + seconds, memoryview(bytearray(RECEIVED))
    with suppress(OSError, BgpyError):  # also where it breaks the protocol: it says nothing then
        for piece in connection.send(Status(1)):
            outgoing = bytes(piece)
            while outgoing:
                outgoing = outgoing[sock.send(outgoing) :]
        while True:
            limit(sock, deadline)
            try:
                count = sock.recv_into(buffer)
            except BlockingIOError:
                continue  # a part of what TLS says: the deadline stays
            if not count:
                return None
            for message in connection.receive(buffer[:count]):
                if isinstance(message, Status):
                    return json_object(message.text)
    return None


def is_ending(target: Target, seconds: float) -> bool:
    """Whether a server answers there, and says that it is ending; False where that isn't known."""
    for tls in dict.fromkeys((target.tls, True)) if target.address.path is None else (None,):
        try:
            connected = connect(target._replace(tls=tls), os.urandom(16), seconds)
        except BgpyError:
            continue
        try:
            return bool((description(connected, seconds) or {}).get("ending"))
        finally:
            connected.reached.sock.close()
    return False
