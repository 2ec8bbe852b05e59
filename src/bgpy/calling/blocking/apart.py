"""Submitted calls over connections of their own, one by one, where no thread can be had.

**In hand.** A thread that takes a call out of what was posted holds a lock of its own by ``with``
until the call has its answer, and notes both before it takes it out, with the client's lock
held, so that the call is either still posted or in hand, and nobody else takes what is in hand.
A thread that is struck anywhere there leaves a note whose lock is free: by that alone whoever
comes next (first of all the struck thread itself, on its way out, and each that waits for a future)
knows that nobody works on that call, and ends it. The thread that ends the program waits for the
locks.
"""

from __future__ import annotations

from contextlib import suppress
from threading import Lock
from typing import NamedTuple

from bgpy.calling.blocking.access import Access
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.posted import Posted
from bgpy.calling.conversation import Answer
from bgpy.errors import BgpyError, ServerGone
from bgpy.system.deadlines import seconds_left
from bgpy.tasks import current

STRUCK_APART = "the thread that was sending the call over a connection of its own was interrupted"


class InHand(NamedTuple):
    """A call that a thread works on as long as it holds the lock."""

    lock: Lock
    posted: Posted


class Apart:
    """Of one client: sends what was posted to its `access`, in the thread that is here."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._posted = access.posted
        self.in_hand: list[InHand] = []
        """What threads work on, or did that were struck; see `tidy`.

        Others take out of it what is done, without a lock: it is looked through in a copy, which
        a list makes whole in every build.
        """

    def submit_first(self) -> None:
        """Take the first call that was posted, unless another thread was faster, and see to it."""
        lock = Lock()
        try:
            with lock:
                with self._access.shared.lock:
                    first = self._take(lock)
                if first is not None:
                    self.submit(first)
        finally:
            self.tidy()

    def submit(self, posted: Posted) -> None:
        """See to that call, here and now."""
        terms = posted.terms._replace(waits=True)
        payload, timeout = posted.payload, terms.timeout

        def ask(channel: Channel, deadline: float | None) -> Answer:
            posted.channel = channel
            return channel.call(payload, current.chain(), timeout, deadline)

        try:
            answer: Answer = self._access.apart(ask, terms)
        except BgpyError as error:
            answer = error
        if posted.call.settle(answer):
            posted.call.finish()

    def has(self, posted: Posted) -> bool:
        """With the client's lock held: whether a thread has, or had, that call in hand."""
        return any(each.posted is posted for each in self.in_hand.copy())

    def tidy(self) -> None:
        """End the calls that threads had in hand which were struck; forget those that are done."""
        for each in self.in_hand.copy():
            if each.lock.locked():
                continue
            call = each.posted.call
            if call.answer is None and call.settle(_struck(each.posted)):
                call.finish()
            with suppress(ValueError):  # another thread was faster
                self.in_hand.remove(each)

    def wait_for_others(self, deadline: float) -> None:
        """Wait for the calls that other threads have in hand."""
        for each in self.in_hand.copy():
            # It is nobody's after that.
            each.lock.acquire(timeout=seconds_left(deadline, 0.0))

    def _take(self, lock: Lock) -> Posted | None:
        """With the client's lock held: what was posted first, noted as being in hand."""
        posted = self._posted
        while posted:
            first = posted[0]
            if first.call.answer is None and not self.has(first):
                self.in_hand.append(InHand(lock, first))
                posted.popleft()
                return first
            posted.popleft()  # a thread was struck that had noted it
        return None


def _struck(posted: Posted) -> ServerGone:
    if posted.channel is None:
        return ServerGone(f"{STRUCK_APART}; it had not been sent", progress="not started")
    return ServerGone(f"{STRUCK_APART}; whether the call ran is not known", progress="unknown")
