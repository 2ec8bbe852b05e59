"""Which server's tasks run in this thread: how a client notices that it calls itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Serving(threading.local):
    incarnation: bytes | None = None
    pid: int = 0


_serving = _Serving()


@contextmanager
def serving(incarnation: bytes) -> Iterator[None]:
    """Mark this thread as the task thread of the server process `incarnation`."""
    before = _serving.incarnation, _serving.pid
    _serving.incarnation, _serving.pid = incarnation, os.getpid()
    try:
        yield
    finally:
        _serving.incarnation, _serving.pid = before


def is_task_thread_of(incarnation: bytes) -> bool:
    """Whether waiting here for the server `incarnation` would be waiting for oneself.

    A forked child of a task is another process and may wait.
    """
    return _serving.incarnation == incarnation and _serving.pid == os.getpid()
