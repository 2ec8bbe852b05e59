"""What sessions hand their messages to: the server, as they see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

S = TypeVar("S", contravariant=True)
"""The session."""


class SessionOwner(Protocol[S]):
    """All of it is called by the thread that polls."""

    @property
    def handlers(self) -> Mapping[type, Callable[[S, Any], None]]:
        """What acts on a message of each class."""

    @property
    def take(self) -> Callable[[S, memoryview, int], int]:
        """The short road; see `bgpy.serving.road`."""

    def proved(self, session: S) -> None:
        """The client of `session` has proved the token."""

    def queued(self, client_id: bytes) -> int:
        """Bytes of the requests that wait for a client."""

    def clogged(self, session: S) -> None:
        """Let no more run for `session`, which doesn't take its replies."""

    def cleared(self, session: S) -> None:
        """`session` has taken its replies."""

    def closed(self, session: S) -> None:
        """Forget `session`."""
