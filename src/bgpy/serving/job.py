"""A request that waits for the task thread, and whom its answer goes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bgpy.memory import Payload
from bgpy.tasks.lifecycle import Kind, Outcome
from bgpy.wire.messages import (
    AT_BUFFERS,
    AT_CODE,
    AT_CODEC,
    AT_HEAD,
    AT_REQUEST,
    CODEC_NONE,
    Execute,
    Exit,
    Init,
    Message,
)


class Peer(Protocol):
    """Who asked: the session of a client that has proved the token, as all but sessions see it."""

    name: str
    """Where the client is, for the log."""

    @property
    def client_id(self) -> bytes:
        """The same for all connections of one client object."""

    def send(self, message: Message) -> None:
        """Send `message` to the peer, or drop it if the peer is gone."""

    def reply(self, request: int, packed: Payload, error: bool, more: bool) -> None:
        """As `send` of a `Reply`; with `more` it may wait a moment for what is sent next."""

    @property
    def send_small(self) -> Callable[[bytes, bool], None]:
        """As `send` of one message in its final form (`bgpy.wire.small`), and whether it may
        wait a moment for what is sent next."""

    def pause(self) -> None:
        """Read no more for now: what waits for the client is enough. On the thread that polls."""

    def close(self) -> None:
        """Close without a word. On the thread that polls."""


class Job:
    """One request on its way through the server. Without a peer it is the server's own.

    What every call reads is the object's own: Python looks for a default of the class longer.
    """

    outcome: Outcome | None = None
    """How it ended, where the outbox has to be told: noted first, so that a job which is struck
    while it ends is ended with that and nothing else."""
    serial = 0
    chain = b""
    """The calls that wait for this one (`bgpy.tasks.current`)."""

    def __init__(
        self, kind: Kind, peer: Peer | None, message: Init | Execute | Exit | None, waits: bool
    ) -> None:
        self.kind = kind
        self.peer = peer
        self.waits = waits
        """The client waits for a response."""
        self.more = self.started = False
        """`more`: when its turn came, more waited behind it for the same client. `started`:
        the engine has been given it: it must not be given it again."""
        self.payload: Payload | None = None
        """What came, until the engine has taken it: arguments don't outlive their task here."""
        if message is None:
            self.request = self.size = 0
        else:
            self.request = message[AT_REQUEST]
            """The request id within its client."""
            head, buffers = message[AT_HEAD], message[AT_BUFFERS]
            self.size = len(head)
            """Bytes of its arguments."""
            if buffers:
                self.size += sum(map(len, buffers))
            if message[AT_CODEC] != CODEC_NONE:
                self.payload = head, buffers, message[AT_CODE]

    @property
    def owner(self) -> bytes:
        """Whose turn it takes."""
        return b"" if self.peer is None else self.peer.client_id
