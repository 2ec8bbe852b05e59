"""The server's handlers, in this process's main thread."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bgpy.hosting import signals
from bgpy.hosting.signals import LOOK, Kept

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


class Server:
    """What is told of signals."""

    def __init__(self) -> None:
        self.interrupts = 0
        self.hang_ups = 0
        self.handle = self._handle  # one object, as it stays with the system

    def hang_up(self, number: int, frame: object) -> None:
        self.hang_ups += 1

    def _handle(self, number: int, frame: object) -> None:
        self.interrupts += 1


@pytest.fixture
def wakeups() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours


def _use_asyncio() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: None)
        loop.add_signal_handler(signal.SIGUSR1, lambda: None)

    asyncio.run(main())


def _use_asyncio_for_another_signal() -> None:
    async def main() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: None)

    asyncio.run(main())
    time.sleep(2 * LOOK)


TASKS: list[Callable[[], object]] = [
    _use_asyncio,
    _use_asyncio_for_another_signal,
    lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    lambda: (signal.signal(signal.SIGINT, print), signal.set_wakeup_fd(-1)),
    lambda: None,
]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("more", [False, True])
def test_put_back_has_the_server_hear_of_signals_whatever_a_task_did(
    wakeups: socket.socket, task: Callable[[], object], number: signal.Signals, more: bool
) -> None:
    """Handlers and wake-up descriptor are the server's again; the user's own stay.

    The handlers are so also where more tasks follow at once, and the descriptor behind the last.
    """
    server, kept = Server(), Kept()
    before = signal.getsignal(number)
    with kept.handling(server.handle, server.hang_up, wakeups.fileno()):
        task()
        kept.put_back(more)
        os.kill(os.getpid(), number)
        assert server.interrupts == 1
        kept.put_back()
        assert signal.set_wakeup_fd(wakeups.fileno()) == wakeups.fileno()
    assert signal.getsignal(number) is before


def test_hold_back_keeps_a_timer_of_a_task_out_of_closing(wakeups: socket.socket) -> None:
    """It raises when everything is closed, and the server's own signals come through."""
    server, kept = Server(), Kept()
    closed = []

    def late(*_: Any) -> None:
        raise LookupError("late")

    def close() -> None:
        with kept.handling(server.handle, server.hang_up, wakeups.fileno()):
            kept.hold_back()
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGTERM)
            closed.append(True)

    before = signal.signal(signal.SIGUSR1, late)
    try:
        with pytest.raises(LookupError):
            close()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert (closed, server.interrupts) == ([True], 1)
    assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_kept_does_nothing_outside_of_the_main_thread(wakeups: socket.socket) -> None:
    """There Python takes no signals."""
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def serve() -> None:
        kept = Kept()
        with contextlib.suppress(AssertionError), kept.handling(print, print, wakeups.fileno()):
            kept.hold_back()
            kept.put_back()
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    assert seen == [before]


def test_handler_that_is_set_while_others_are_guarded_is_guarded_by_the_next_look(
    wakeups: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that sets itself anew whenever it runs, say."""

    def handler(number: int, frame: object) -> None: ...

    server, kept, asked = Server(), Kept(), signals._get_handler
    before = signal.getsignal(signal.SIGUSR1)
    moments = [signals._OTHERS[-1]]

    def meanwhile(number: int) -> Any:
        found = asked(number)
        if number in moments:
            moments.clear()
            signal.signal(signal.SIGUSR1, handler)
        return found

    try:
        with kept.handling(server.handle, server.hang_up, wakeups.fileno()):
            signal.signal(signal.SIGUSR1, handler)
            monkeypatch.setattr(signals, "_get_handler", meanwhile)
            for _ in range(2):
                kept._look_at = 0.0
                kept.put_back()
            assert not moments
            assert type(signal.getsignal(signal.SIGUSR1)) is signals.Guard
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def hangup() -> Iterator[None]:
    """SIGHUP as it was."""
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


def test_hangup_is_the_servers_unless_it_is_ignored_or_somebody_elses(
    wakeups: socket.socket, hangup: None
) -> None:
    """As by ``nohup``; afterwards it is as it was, and so it is in a task's child."""
    kept, server = Kept(), Server()
    for before in (signal.SIG_DFL, signal.SIG_IGN, print):
        signal.signal(signal.SIGHUP, before)
        with kept.handling(server.handle, server.hang_up, wakeups.fileno()):
            if before is signal.SIG_DFL:
                os.kill(os.getpid(), signal.SIGHUP)
                assert server.hang_ups == 1
                kept.put_back()
                signals.restore_in_child()
                assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
                signal.signal(signal.SIGHUP, signals.Own(server.hang_up))
            elif before is signal.SIG_IGN:
                assert signal.getsignal(signal.SIGHUP) is before
        assert signal.getsignal(signal.SIGHUP) is before
    assert server.interrupts == 0


def test_signals_are_as_after_login_whatever_was_inherited() -> None:
    """All but SIGHUP, which ``nohup`` ignores on purpose."""
    text = (
        "import signal\n"
        "from bgpy.hosting.signals import as_after_login\n"
        "as_after_login()\n"
        "ignored = {n for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN}\n"
        "assert ignored == {signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ}, ignored\n"
        "assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())\n"
    )
    numbers = (signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR1)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2})
    try:
        started = subprocess.Popen([sys.executable, "-c", text])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
    assert started.wait(60) == 0


def _code_of(child: Callable[[], int]) -> int:
    """The exit code of a forked child that does this."""
    pid = os.fork()
    if not pid:
        try:
            os._exit(child())
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_child_that_a_handler_forks_outside_of_a_task_ends_with_the_handler() -> None:
    """It does not go on in the server's own code."""
    forks = signals.Guard(lambda number, frame: os.fork())

    def child() -> int:
        grandchild = forks(signal.SIGUSR1, sys._getframe())
        return os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) if grandchild else 7

    def alone() -> int:
        signals.Guard.__init__(forks, forks.handler)  # as if the server were this process
        return child()

    assert _code_of(alone) == 0


def test_handler_in_a_child_of_the_users_own_returns_and_raises_as_it_does() -> None:
    """Which a thread has forked: what is no server's process is no business of its guards."""
    guard = signals.Guard(lambda number, frame: 3 if number else 1 / 0)

    def child() -> int:
        returned: int = guard(1, sys._getframe())
        with contextlib.suppress(ZeroDivisionError):
            guard(0, sys._getframe())
            return 98
        return returned

    assert _code_of(child) == 3
