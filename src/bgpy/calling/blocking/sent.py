"""What becomes of a call that was sent: its answer, or what it ends in instead.

::

    sent ──answer_of──► its answer; after its time the server is asked how far it came
      └──failed──► the connection was lost, or the thread struck down: nothing is left behind
"""

from __future__ import annotations

from time import monotonic

from bgpy.calling.blocking.link import ASK, Link
from bgpy.calling.blocking.loss import MOMENT
from bgpy.calling.blocking.reading import STRUCK_READING, Reader
from bgpy.calling.blocking.shared import NoReader
from bgpy.calling.blocking.waiting import TICK
from bgpy.calling.conversation import Answer, Call
from bgpy.system.deadlines import is_over, seconds_left
from bgpy.system.strikes import is_strike


class Sent:
    """The calls of one connection that have been sent, and those who wait for them."""

    def __init__(self, link: Link, reader: Reader) -> None:
        self._link = link
        self._reader = reader
        self._conversation = link.conversation
        self._here = link.shared.here
        self._lock = link.lock

    def answer_of(self, call: Call, reads: bool, deadline: float | None) -> Answer:
        """Wait for it until `deadline`; the thread `reads` meanwhile, or sleeps."""
        if not call.left:
            self._see_off(call, deadline)
        if call.answer is None:
            self._reader.wait(call, reads, deadline)
            if call.answer is None:
                self._expire(call)
        answer = call.answer
        assert answer is not None, "a call that has expired has one"
        return answer

    def lost(self, error: OSError) -> None:
        """Sending failed: what came before the end is still read, then all that is left ends.

        Another thread may be reading, and the server have said why it ended: that thread meets the
        end behind it within a `MOMENT`.
        """
        self._reader.look()
        self.wait_end(monotonic() + MOMENT)
        self._link.end_lost(f"the connection was lost: {error}")

    def wait_end(self, deadline: float | None) -> bool:
        """Read until the connection has ended, or `deadline`; whether it has."""
        call = Call()
        with self._lock:
            if self._conversation.ended is not None:
                return True
            # An id that no message answers, of its own: several threads may wait for it.
            self._conversation.begin(call, -self._link.shared.numbers.draw())
            try:
                reads = self._reader.reads(call)
            except NoReader:
                self._conversation.abandon(call)
                return False
        try:
            self._reader.wait(call, reads, deadline)
        except BaseException:
            self.struck(call)
            raise
        self._conversation.abandon(call)
        return self._conversation.ended is not None

    def failed(self, call: Call, error: BaseException) -> Answer:
        """The answer of `call`, where sending it has failed; raises `error` if it is any other."""
        if not isinstance(error, OSError) or is_strike(error):
            self.struck(call)
            raise error
        if call.answer is None:
            self.lost(error)
        assert call.answer is not None, "the end of the connection is one"
        return call.answer

    def struck(self, call: Call) -> None:
        """Tidy up after an interrupt. If it is interrupted too, others find what is left."""
        self._conversation.abandon(call)
        if self._reader.torn and self._reader.turns.reader is self._here.turn:
            self._link.end(STRUCK_READING)
        self._link.hand_on()

    def _see_off(self, call: Call, deadline: float | None) -> None:
        """Push until all of `call` has left, or its time is over."""
        while not call.left and call.answer is None:
            seconds = min(seconds_left(deadline, TICK), TICK)
            if not self._link.wait_writable(seconds) and self._link.end_if_gone():
                return
            if is_over(deadline):
                return
            self._link.push()
        self._link.hand_on()  # what others have put behind it counts on that

    def _expire(self, call: Call) -> None:
        """Ask the server how far `call` came, whose time is over; it has an answer then."""
        deadline = monotonic() + ASK
        try:
            if self._link.withdraw(call):
                with self._lock:
                    reads = self._reader.reads(call)
                self._reader.wait(call, reads, deadline)
        except NoReader:
            pass  # nobody would read the answer
        with self._lock:
            self._conversation.give_up(call)
