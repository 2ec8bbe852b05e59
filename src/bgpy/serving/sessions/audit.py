"""One line in the log for each connection that ends: peer, client id, outcome.

Lines about strangers, who need no token to make them, are bounded: `BURST` at once and
`RATE` a second from then on. What was left out is counted and told with the next line.
"""

from __future__ import annotations

import logging
from time import monotonic

log = logging.getLogger("bgpy.server")

BURST = 100
"""Lines about strangers at once."""

RATE = 10.0
"""Lines about strangers a second, in the long run."""


class Audit:
    """Writes the lines of one server."""

    def __init__(self) -> None:
        self._room = float(BURST)
        self._filled = monotonic()
        self._left_out = 0

    def ended(self, peer: str, client_id: bytes, outcome: str) -> None:
        """Note that a connection has ended; `client_id` is empty if it proved no token."""
        if client_id:
            log.info("%s client %s: disconnected (%s)", peer, client_id.hex(), outcome)
        elif self._may_write():
            self.tell_left_out()
            log.warning("%s client -: disconnected (%s)", peer, outcome)

    def tell_left_out(self) -> None:
        """Say how many lines were left out since the last time, if any were."""
        if self._left_out:
            log.warning("%d more connections ended before proving the token", self._left_out)
            self._left_out = 0

    def _may_write(self) -> bool:
        now = monotonic()
        self._room = min(BURST, self._room + (now - self._filled) * RATE)
        self._filled = now
        if self._room < 1:
            self._left_out += 1
            return False
        self._room -= 1
        return True
