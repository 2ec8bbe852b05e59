"""What a client knows of its server over all of its connections: whether it was restarted. Pure.

A shell with several threads keeps one lock around it, that of the `Conversation`s.
"""

from __future__ import annotations

from bgpy.errors import ServerRestarted


class Acquaintance:
    """What a client knows of the server that it talks to, from one connection to the next.

    Each restart that it meets is one `generation`. A call notes `notified` when it begins; if it
    finds a connection of a later generation it fails with `restarted`, so that all calls that
    began before the notice was first raised get it, in whichever thread.
    """

    def __init__(self, address: object) -> None:
        self._address = address
        self._incarnation: bytes | None = None
        self.generation = 0
        """How many restarts were met."""
        self.notified = 0
        """The last generation that somebody has been told of."""

    @property
    def has_met(self) -> bool:
        """Whether a server is known."""
        return self._incarnation is not None

    def is_another(self, incarnation: str) -> bool:
        """Whether the server with that number, in hexadecimal, is not the one that was met."""
        return self._incarnation is not None and self._incarnation.hex() != incarnation

    def meet(self, incarnation: bytes) -> int:
        """Take note of who answered; the generation of the new connection."""
        if self._incarnation not in (None, incarnation):
            self.generation += 1
        self._incarnation = incarnation
        return self.generation

    def generation_of(self, incarnation: bytes) -> int:
        """As `meet`, without taking note: of a connection of its own, for one call."""
        return self.generation + (self._incarnation not in (None, incarnation))

    def knows(self, generation: int) -> None:
        """Take note that who uses the client knows of that restart: it initialised the server."""
        self.notified = max(self.notified, generation)

    def ended(self, incarnation: bytes) -> None:
        """Take note that this client ended that server: whatever comes next is no surprise."""
        if self._incarnation == incarnation:
            self._incarnation = None

    def restarted(self, generation: int) -> ServerRestarted:
        """The error of a call that began before the restart was told, and tells it.

        One that was met by a connection of its own alone is told once more, by the next call
        over the one that all share.
        """
        self.knows(min(generation, self.generation))
        return ServerRestarted(
            f"the server at {self._address} has been restarted: this call did not run, and the "
            "old state is lost",
            advice="initialise the server if it has no init file, then call again",
        )
