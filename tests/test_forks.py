"""A fork waits for work that holds other libraries' locks; a child has locks of its own."""

from __future__ import annotations

import signal
import ssl
import sys
import threading
from collections.abc import Callable
from subprocess import Popen
from typing import Any

import pytest

from bgpy.forks import OwnLock, briefly, uncut
from bgpy.tls import layer
from tests.support.ends import established
from tests.support.fixtures import script
from tests.support.forks import forked_while_held

__all__ = ["script"]

Script = Callable[..., "Popen[str]"]


def held() -> bool:
    """Whether a fork would wait now."""
    free: list[bool] = []

    def look() -> None:
        free.append(uncut.acquire(blocking=False))
        if free[0]:
            uncut.release()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return not free[0]


class Watched:
    """Stands for an object, and notes for each call of it whether a fork would have waited."""

    def __init__(self, real: Any, seen: list[tuple[str, bool]]) -> None:
        self._real, self._seen = real, seen

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found) or isinstance(found, type):
            return found

        def call(*args: Any, **named: Any) -> Any:
            self._seen.append((name, held()))
            return found(*args, **named)

        return call


def test_tls_holds_a_fork_off_while_it_shakes_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step of the handshake on either side, and not what the peer takes in between."""
    seen: list[tuple[str, bool]] = []
    made = layer.TlsLayer.__init__

    def watch(self: layer.TlsLayer, context: ssl.SSLContext, server_side: bool) -> None:
        made(self, context, server_side)
        self._tls = Watched(self._tls, seen)  # type: ignore[assignment]

    monkeypatch.setattr(layer.TlsLayer, "__init__", watch)
    established([5])
    assert [name for name, _ in seen].count("do_handshake") >= 4
    assert {name for name, was in seen if not was} <= {"read"}
    assert not held()


def test_work_that_is_brief_waits_for_nobody() -> None:
    """Who holds a fork off may wait for the very thread that does it."""
    with uncut:
        done: list[int] = []
        thread = threading.Thread(target=lambda: done.append(briefly(lambda: 1)))
        thread.start()
        thread.join(60)
        assert done == [1]
        assert briefly(held)  # the same thread may come again
        assert held()
    assert not held()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_work_that_is_brief_lets_go_whatever_it_raises(error: type[BaseException]) -> None:
    """As a lock does that is taken by `with`."""

    def fails() -> None:
        assert held()
        raise error

    with pytest.raises(error):
        briefly(fails)
    assert not held()


@pytest.mark.skipif(sys.platform == "win32", reason="needs setitimer")
def test_work_that_is_brief_lets_go_wherever_a_signal_handler_raises() -> None:
    """Before the lock is taken, while the work is done, and after."""

    class Struck(Exception):
        pass

    def strike(number: int, frame: object) -> None:
        raise Struck

    before = signal.signal(signal.SIGALRM, strike)
    struck = 0
    try:
        for turn in range(3000):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + turn % 40))
                for _ in range(40):
                    briefly(int)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Struck:
                struck += 1
            assert not held()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert struck > 100


FORK = """
import os, signal, sys, threading, warnings
warnings.simplefilter("ignore")
from bgpy.forks import uncut

forking = threading.Event()

def work():
    with uncut:
        forking.set()
        while not waits:  # the fork of the other thread
            pass

waits = []
thread = threading.Thread(target=work)
os.register_at_fork(before=lambda: waits.append(None))  # called before that of the lock
thread.start()
forking.wait()
child = os.fork()
if not child:
    signal.alarm(20)  # by default it ends the process
    with uncut:
        os._exit(32)
with uncut:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_fork_waits_and_leaves_the_lock_open_on_both_sides(script: Script) -> None:
    """Parent and child go on as if nothing had been under way."""
    output, errors = script(FORK).communicate(timeout=60)
    assert (output.split(), errors) == (["32"], "")


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
