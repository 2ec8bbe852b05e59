"""The standby: a thread that reads a connection where no thread that waits does.

It is started by the first that would have to sleep, and rests while nothing is under way. It
doesn't keep its channel alive then: when that is collected the standby is told by C code alone
(a weak reference whose callback is a queue's `put`), which no signal handler can keep from it.
No signal handler runs in it either, so it is the one that finds and tidies what a thread
left that was struck down.
"""

from __future__ import annotations

import logging
import threading
import weakref
from queue import SimpleQueue
from typing import Protocol

from bgpy.calling.blocking import threads

log = logging.getLogger("bgpy.client")


class Reader(Protocol):
    """What the standby reads for: a channel."""

    @property
    def has_ended(self) -> bool:
        """Whether the connection has ended, so that nobody reads any more."""

    def serve(self, turn: threading.Lock) -> None:
        """Read while anything is under way, with `turn` held."""


StandbyBell = SimpleQueue["Reader | weakref.ref[Reader]"]
"""How the standby is woken by its channel, and told of the channel's end."""


class Standby:
    """Of one channel; both methods are called with the client's lock held."""

    def __init__(self) -> None:
        self._rung: StandbyBell = SimpleQueue()
        self._started = False

    def ring(self, channel: Reader) -> bool:
        """Have it read for `channel`; False where no thread can be started."""
        if not self._started:
            if not threads.start(_stand_by, self._rung, weakref.ref(channel, self._rung.put)):
                return False
            self._started = True
        self._rung.put(channel)
        return True

    def tell_end(self, channel: Reader) -> None:
        """The connection has ended: if there is a standby it does what is left, and ends."""
        if self._started:
            self._rung.put(channel)


def _stand_by(rung: StandbyBell, collected: weakref.ref[Reader]) -> None:
    turn = threading.Lock()
    while True:
        channel = rung.get()
        if isinstance(channel, weakref.ref):
            return  # `collected`
        try:
            with turn:
                channel.serve(turn)
        except BaseException as error:  # out of memory even for the end: the next one finds it
            log.debug("the thread that reads failed: %r", error)
        if channel.has_ended:
            while not rung.empty():
                rung.get_nowait()  # a channel that its own queue holds would not be collected
            return
        del channel
