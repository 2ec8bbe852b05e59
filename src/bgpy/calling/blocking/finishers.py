"""The threads that finish a client's futures: what may take its time is not for who reads.

::

    who reads ──settle──► CallFuture
        └─ Finishers ──► a thread that tells `concurrent.futures.wait` and its like
                └──────► one that calls back, one after another

Telling takes locks that the thread that reads, and may be interrupted, must not leave behind.
Callbacks are the program's: a slow one, or one that waits for other futures, delays later
callbacks and nothing else.
"""

from __future__ import annotations

import logging

from bgpy.calling.blocking.futures import CallFuture
from bgpy.calling.blocking.helper import Helper
from bgpy.calling.conversation import Answer

log = logging.getLogger("bgpy.client")


class Telling(Helper[CallFuture]):
    """Tells those that wait for several futures."""

    def do(self, what: CallFuture) -> None:
        """Tell those of that future."""
        what.tell()


class Calling(Helper[CallFuture]):
    """Calls the callbacks of futures."""

    def do(self, what: CallFuture) -> None:
        """Call those of that future, each once: what one raises costs no other its call.

        Where memory is out that may be raised before or behind a callback, and even saying so
        may fail: then those that are left are called when this is done once more.
        """
        while what.has_to_call_back():
            try:
                what.call_back()
            except BaseException:  # SystemExit, above all
                log.exception("a future's callback raised; the callback thread carries on")


class Finishers:
    """Both, each started when it is needed.

    They hold neither client nor connection, so they end when those are forgotten.
    """

    def __init__(self, owner: object) -> None:
        """They end when `owner` is collected, which clients and connections share."""
        self.telling = Telling(owner)
        self.calling = Calling(owner)
        self.start = self.calling.start
        """Starts the one for callbacks, unless it runs; False where none can be started now."""

    def settle(self, future: CallFuture, answer: Answer) -> None:
        """End `future` with `answer`, and leave to the threads what may take its time."""
        if future.settle(answer):
            self.post(future)

    def post(self, future: CallFuture) -> None:
        """Have `future`, which was settled, finished."""
        if future.has_to_tell() and not self.telling.ring(future):
            future.tell()  # no thread can be had, and no code of the user's runs in it
        if future.has_to_call_back() and not self.calling.ring(future):
            self.calling.post(future)  # for the next that can be had

    def rest(self) -> None:
        """Have the threads end, when they have done what was posted before."""
        self.telling.rest()
        self.calling.rest()
