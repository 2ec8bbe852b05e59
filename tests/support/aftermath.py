"""What an attack or a fault leaves behind: nothing, in the server and in this process.

::

    with aftermath(handle, TOKEN):
        the attack

At its end another client's call succeeds at once, and descriptors, threads, children, files
and memory are what they were at its beginning; the log holds no token.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from bgpy import Client, Handle
from tests.support.builds import FREE_THREADED
from tests.support.peers import wait_until

PROMPT = 4.0
"""Seconds within which another client's call succeeds, on a machine however loaded.

Less than what a silent peer has for its handshake.
"""

SLACK = 32 * 2**20
"""Bytes that an allocator may keep of what an attack made it take."""


class Held(NamedTuple):
    """What a process holds."""

    descriptors: int
    threads: int
    children: int

    @classmethod
    def by(cls, process: psutil.Process) -> Held:
        """Look at `process`. A child that has ended is its task's to wait for."""
        living = [child for child in process.children() if child.status() != psutil.STATUS_ZOMBIE]
        return cls(process.num_fds(), process.num_threads(), len(living))

    def within(self, other: Held) -> bool:
        """Whether nothing is more than in `other`."""
        return all(mine <= theirs for mine, theirs in zip(self, other, strict=True))


@contextmanager
def aftermath(
    handle: Handle, token: str, slack: int = SLACK, client: Callable[..., Client] | None = None
) -> Iterator[None]:
    """Check after the block that the server of `handle` is as it was before it.

    `client` makes another client of its port, where that is no plain one.
    """
    make = client or partial(Client, "127.0.0.1", token=token)
    check_call(handle, make)  # which warms it up
    server, own = psutil.Process(handle.pid), psutil.Process()
    held = {each: Held.by(each) for each in (server, own)}
    threads = threading.active_count()
    memory, files = server.memory_info().rss, _files(handle)
    yield
    check_call(handle, make)
    for process, before in held.items():
        _wait_within(process, before)
    wait_until(lambda: threading.active_count() <= threads, "the threads of the test have ended")
    if not FREE_THREADED:  # whose allocator keeps it
        wait_until(lambda: server.memory_info().rss < memory + slack, "the memory is given back")
    assert _files(handle) <= files
    check_log(handle, token)


def check_call(handle: Handle, make: Callable[..., Client]) -> None:
    """Another client's call succeeds at once."""
    with make(handle.port, timeout=PROMPT) as other:
        for answer in ("here", "still here"):
            assert other.call({"respond": answer}) == answer


def check_log(handle: Handle, token: str) -> None:
    """The log holds no secret."""
    assert handle.log_file is not None
    for log in Path(handle.log_file).parent.glob("log*"):
        assert token.encode() not in log.read_bytes()


def _files(handle: Handle) -> set[str]:
    assert handle.log_file is not None
    folder = Path(handle.log_file).parent
    return {each.name for each in folder.iterdir()} - {"log.1"}


def _wait_within(process: psutil.Process, before: Held) -> None:
    try:
        wait_until(lambda: Held.by(process).within(before), "all is given back")
    except AssertionError:
        raise AssertionError(f"{process}: {Held.by(process)} is more than {before}") from None
