"""What the sessions of a server share, and what they hand their messages to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from bgpy.config import Limits
from bgpy.serving.budget import Budget
from bgpy.serving.io.reactor import Reactor

S = TypeVar("S", contravariant=True)
"""The session."""


class ShortRoad(Protocol[S]):
    """What takes small plain executes; see `bgpy.serving.road`."""

    def take_alone(self, session: S, data: bytearray, size: int) -> bool:
        """Whether what was received is one of them, which runs next."""

    def take_row(self, session: S, data: bytearray, size: int, alone: bool) -> int:
        """Take those that stand at the front of what was received; how many bytes those were."""


class SessionOwner(Protocol[S]):
    """The server, as its sessions see it. All of it is called by the thread that polls."""

    @property
    def handlers(self) -> Mapping[type, Callable[[S, Any], None]]:
        """What acts on a message of each class."""

    @property
    def road(self) -> ShortRoad[S]:
        """What takes the small executes; see `bgpy.serving.road`."""

    def proved(self, session: S) -> None:
        """The client of `session` has proved the token."""

    def queued(self, client_id: bytes) -> int:
        """Bytes of the requests that wait for a client."""

    def clogged(self, session: S) -> None:
        """Let no more run for `session`, which doesn't take its replies."""

    def cleared(self, session: S) -> None:
        """`session` has taken its replies."""

    def dropped(self, session: S) -> None:
        """Something came from `session`, which lingers, and was dropped."""

    def closed(self, session: S) -> None:
        """Forget `session`."""


@dataclass(frozen=True, slots=True)
class SessionContext(Generic[S]):
    """One for all sessions of a server."""

    owner: SessionOwner[S]
    limits: Limits
    reactor: Reactor
    budget: Budget
    shared: bytearray
    """Received into by one session at a time, and used before the next one receives."""
    view: memoryview
    """Of `shared`: gives parts without a copy."""
