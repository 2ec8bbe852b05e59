"""Threads that a client starts, and what marks a thread as being inside of the client.

They are started without `threading`, whose locks a signal handler may find held by the
very thread that it interrupts. They are daemons: nothing waits for them, and when the
interpreter ends a client does without.
"""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable
from typing import Any

from bgpy.system.strikes import is_strike

_HELD = threading.Lock()
_HELD.acquire()


class Presence(threading.local):
    """What each thread has of its own in a client.

    ``inside`` is held by ``with`` while the thread is in the midst of a client's work. A call
    that finds it held comes from a signal handler or a ``__del__`` that interrupts that
    work, so it must touch none of the client's locks. Only its own thread ever holds it.

    ``turn`` is held by ``with`` while the thread reads for the client; see `turns`. It alone is
    held on the short road of a lone call (`shortcut`), and says the same there. For a moment the
    standby may have it, when the thread was struck down: a call that comes just then is
    taken for one inside, and makes its way without the client's locks.
    """

    # Found where the collector runs a `__del__` before a new thread has its own: as inside.
    inside = _HELD
    both = _HELD, _HELD

    def __init__(self) -> None:
        self.turn = threading.Lock()
        inside = threading.Lock()
        self.both = inside, self.turn
        """`inside` and `turn`: each look for one of them takes long."""
        self.inside = inside  # last: until then it is found as inside

    def is_inside(self) -> bool:
        """Whether this thread is in the midst of the client's work."""
        return self.inside.locked() or self.turn.locked()


def start(run: Callable[..., object], *args: Any) -> bool:
    """Start a thread that does ``run(*args)``; False where no thread can be started now."""
    try:
        _thread.start_new_thread(run, args)
    except RuntimeError as error:
        if is_strike(error):
            raise
        return False  # too many, or the interpreter is ending
    return True
