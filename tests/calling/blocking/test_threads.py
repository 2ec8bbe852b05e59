"""What each thread has of its own in a client."""

from __future__ import annotations

import threading

from bgpy.calling.blocking.threads import Presence, start


def test_each_thread_has_locks_of_its_own() -> None:
    """One that is inside says nothing about the others."""
    presence, seen = Presence(), []
    with presence.inside:
        thread = threading.Thread(target=lambda: seen.append(presence.inside.locked()))
        thread.start()
        thread.join()
        assert presence.inside.locked()
    assert seen == [False]


def test_started_thread_runs() -> None:
    """With its arguments."""
    done = threading.Event()
    assert start(lambda event: event.set(), done)
    assert done.wait(30)
