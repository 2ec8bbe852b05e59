"""The latch between threads."""

from __future__ import annotations

import threading

from bgpy.system.latch import Latch


def test_latch_is_made_closed() -> None:
    """Who waits at a new one waits its time out."""
    assert not Latch().wait(0)


def test_latch_lets_one_through_when_it_was_opened_twice() -> None:
    """Opening an open latch changes nothing, and going through closes it."""
    latch = Latch()
    latch.open()
    latch.open()
    assert latch.wait(0)
    assert not latch.wait(0)


def test_latch_wakes_the_thread_that_waits() -> None:
    """From any other thread."""
    latch, woken = Latch(), Latch()
    thread = threading.Thread(target=lambda: latch.wait() and woken.open())
    thread.start()
    latch.open()
    assert woken.wait(60)
    thread.join()
