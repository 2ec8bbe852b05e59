"""Imports that wait until something needs them, safe from forks, shortage and the program's end.

What takes long to import and is not always needed (OpenSSL, cloudpickle, platformdirs) is
imported by a function marked `once`, which keeps it.

**Forks.** Python locks each module while a thread imports it, and a forked child keeps those
locks, though the thread that would release them is not there: the child's first import of
that module would never end. So all these imports happen under one lock, and ``fork`` takes it
first: it waits until an import that is under way has ended, and the child finds the module
whole. The lock is reentrant, because the thread that imports may itself fork, in what a
signal handler or the collector runs. Who waits for it waits for an import, and has to need
one: the thread that connects may need none that the one which waits for it may be in the
midst of (`calling.blocking.connecting.import_for`).

**Strikes.** An exception that a signal handler raises in the midst ends the import as any
other error does: the lock is left by ``with``, nothing is kept, and the next use imports
anew. Code that runs in the midst of an import, in its thread, and needs the same module
can't wait for itself: it gets an error that says so.

**Shortage and end.** An import needs file descriptors, and is not possible any more when the
interpreter takes its modules down. Both are `Unreachable`: whatever needs the module has not
begun.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from threading import RLock
from types import ModuleType
from typing import TypeVar

from bgpy.errors import Unreachable
from bgpy.shortage import no_descriptor, shortage

T = TypeVar("T")

_lock = RLock()

if hasattr(os, "register_at_fork"):
    # In the child as well: the thread that forked holds the lock there.
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


def once(load: Callable[[], T]) -> Callable[[], T]:
    """Mark a function that imports something and gives it: it is called once, at first use.

    What it gives is kept for a ``__del__`` that needs it when nothing can be imported any more.
    """
    kept: list[T] = []
    under_way: list[None] = []

    @wraps(load)
    def loaded() -> T:
        if kept:
            return kept[0]
        with _lock:
            if under_way:  # by this very thread, or the lock would have kept it out
                raise Unreachable(
                    "this call, in a signal handler or __del__, needs an import that it has just "
                    "interrupted",
                    advice="make one bgpy call earlier, in ordinary code",
                    progress="not started",
                )
            if not kept:
                try:
                    under_way.append(None)
                    kept.append(_imported(load))
                finally:
                    under_way.clear()
            return kept[0]

    return loaded


def _imported(load: Callable[[], T]) -> T:
    try:
        return load()
    except (ImportError, OSError) as error:
        if sys.is_finalizing() or sys.meta_path is None:
            raise Unreachable(
                f"the interpreter is shutting down and can't import what this needs ({error})",
                advice="call earlier, for example in a function registered with atexit",
                progress="not started",
            ) from error
        # Of a library in C the loader tells no error number.
        short = shortage(error) or (no_descriptor() if isinstance(error, ImportError) else None)
        if short is None:
            raise
        raise Unreachable(
            f"a module can't be imported: {short.problem}",
            advice=short.advice,
            progress="not started",
        ) from error


@once
def json() -> ModuleType:
    """`json`: 2 ms that a program without a call never needs."""
    import json

    return json
