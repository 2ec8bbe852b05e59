"""Which server's tasks run in this thread: how a client notices that it calls itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident

_serving: dict[int, tuple[bytes, int]] = {}
"""By thread: the incarnation of the server that it serves, and the process that it does so in."""


@contextmanager
def serving(incarnation: bytes) -> Iterator[None]:
    """Mark this thread as the task thread of the server process `incarnation`."""
    me = get_ident()
    before = _serving.get(me)
    _serving[me] = incarnation, os.getpid()
    try:
        yield
    finally:
        if before is None:
            del _serving[me]
        else:
            _serving[me] = before


def is_task_thread_of(incarnation: bytes) -> bool:
    """Whether waiting here for the server `incarnation` would be waiting for oneself.

    A forked child of a task is another process and may wait.
    """
    if not _serving:
        return False
    return _serving.get(get_ident()) == (incarnation, os.getpid())
