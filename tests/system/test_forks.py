"""What a forked child has of its own."""

from __future__ import annotations

import sys

import pytest

from bgpy.system.forks import OwnLock
from tests.support.forks import forked_while_held


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_forked_child_has_a_lock_of_its_own_whoever_held_the_parents() -> None:
    """The parent's stays the same one, held or not."""
    lock = OwnLock()
    before = lock.here

    def take() -> None:
        assert lock.here is not before
        with lock.here:
            pass

    assert forked_while_held(before, take) == 0
    assert lock.here is before


def test_lock_may_be_taken_again_by_the_thread_that_holds_it() -> None:
    """The collector or a signal handler may run what needs it meanwhile."""
    lock = OwnLock()
    with lock.here, lock.here:
        pass
