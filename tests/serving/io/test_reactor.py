"""The reactor with real threads and sockets."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from bgpy import Client, Handle
from bgpy.example import tasks
from bgpy.serving.io import reactor as reactor_module
from bgpy.serving.io.agenda import Deadline
from bgpy.serving.io.poller import ALONE, READ, WRITE
from bgpy.serving.io.polling_role import POLL_AGAIN
from bgpy.serving.io.reactor import Reactor
from tests.support.forks import forked_while_held
from tests.support.loop import LONG, Jobs, Loop, Row
from tests.support.peers import wait_until

NUMBER = struct.Struct("<I")


@pytest.fixture
def hasty_switches() -> Iterator[None]:
    """Threads take turns a hundred times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


class Numbers:
    """A client that sends numbers, each of which becomes a job.

    Each `EVERY`th job waits for numbers that are sent once it runs: whoever receives
    them, it is not the task thread.
    """

    COUNT = 1_500
    EVERY = 15

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._received = bytearray()
        self._arrived = 0
        self._more = threading.Condition()
        self.ran: list[int] = []
        self.pollers: list[int] = []
        self._sock = loop.client(self._receive)
        self._sender = threading.Thread(target=self._send)
        self._sender.start()

    def _send(self) -> None:
        for first in range(0, self.COUNT, self.EVERY):
            self._sock.sendall(NUMBER.pack(first))
            self._wait_run(first)
            for number in range(first + 1, first + self.EVERY):
                self._sock.sendall(NUMBER.pack(number))
            self._wait_run(first + self.EVERY - 1)

    def _wait_run(self, number: int) -> None:
        with self._more:
            assert self._more.wait_for(lambda: self.ran[-1:] == [number], LONG)

    def _receive(self, data: bytes) -> None:
        self._received += data
        if self.pollers[-1:] != [threading.get_ident()]:
            self.pollers.append(threading.get_ident())
        while len(self._received) >= NUMBER.size:
            (number,) = NUMBER.unpack_from(self._received)
            del self._received[: NUMBER.size]
            self._loop.jobs.append(lambda number=number: self._run(number))
            with self._more:
                self._arrived = number
                self._more.notify_all()

    def _run(self, number: int) -> None:
        with self._more:
            self.ran.append(number)
            self._more.notify_all()
            if number % self.EVERY == 0:
                assert self._more.wait_for(lambda: self._arrived > number, LONG)

    def wait_sent(self) -> None:
        self._sender.join(LONG)


@pytest.mark.usefixtures("hasty_switches")
def test_reactor_runs_each_job_once_in_order_when_the_role_moves_all_the_time(loop: Loop) -> None:
    """Thousands of jobs with takeovers between: none lost, none twice, each client in order."""
    clients = [Numbers(loop) for _ in range(4)]
    for client in clients:
        client.wait_sent()
        assert client.ran == list(range(client.COUNT))
    assert sum(len(client.pollers) for client in clients) > 10


def test_reactor_polls_in_the_task_thread_when_nothing_runs(loop: Loop) -> None:
    """What comes to an idle server is received without a hand-over."""
    threads: list[int] = []
    came = threading.Event()
    client = loop.client(lambda data: (threads.append(threading.get_ident()), came.set()))
    client.sendall(b"x")
    assert came.wait(LONG)
    assert threads == [loop.ident]


def test_reactor_receives_in_the_standby_while_a_job_runs(loop: Loop) -> None:
    """A job that takes long doesn't keep the sockets: a ping is received meanwhile."""
    threads: list[str] = []
    pinged = threading.Event()
    client = loop.client(
        lambda data: (threads.append(threading.current_thread().name), pinged.set())
    )
    with loop.busy():
        client.sendall(b"ping")
        assert pinged.wait(LONG)
    assert threads == ["bgpy-standby"]


def test_reactor_gives_the_role_back_when_the_job_has_ended(loop: Loop) -> None:
    """After a takeover the task thread polls again as soon as it is idle."""
    for _ in range(20):
        with loop.busy():
            assert loop.on_poller(threading.get_ident) != loop.ident
        pollers = iter(lambda: loop.on_poller(threading.get_ident), loop.ident)
        until = time.monotonic() + LONG
        assert all(time.monotonic() < until for _ in pollers)


def test_change_is_made_by_the_poller_when_it_sleeps_in_the_poll(loop: Loop) -> None:
    """A change from another thread wakes the poller and is made by it."""
    assert loop.on_poller(threading.get_ident) == loop.ident


def test_change_is_made_before_the_next_poll_when_the_poller_makes_it_itself(loop: Loop) -> None:
    """A handler may append a change; no wake is needed for it."""
    made = threading.Event()
    loop.on_poller(lambda: loop.reactor.change(made.set))
    assert made.wait(LONG)


def test_change_and_handler_that_fail_are_logged_when_others_go_on(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure in what is called doesn't take the polling thread with it."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a handler's own mistake")

    with caplog.at_level(logging.ERROR, "bgpy.server"):
        loop.reactor.change(fail)
        sock = loop.client(lambda data: fail())
        sock.sendall(b"x")
        assert loop.on_poller(threading.get_ident) == loop.ident
        loop.on_poller(lambda: loop.reactor.after(0.0, fail))
        expired = threading.Event()
        loop.on_poller(lambda: loop.reactor.after(0.0, expired.set))
        assert expired.wait(LONG)
    assert [record.exc_info is not None for record in caplog.records] == [True] * 3


def test_row_that_has_just_begun_is_spilled_before_an_interrupt_is_heeded(loop: Loop) -> None:
    """What is queued is refused then: none of it may be left in a row that runs after that."""
    ended, heeded = threading.Event(), list[tuple[int, list[int]]]()
    ours, theirs = socket.socketpair()

    def ready(events: int) -> None:
        if events == ALONE:
            ours.recv(1)
            loop.jobs.row = Row([lambda: heeded.append((loop.interrupts, loop.jobs.spilled))] * 2)
            loop.jobs.row.jobs.append(ended.set)
            loop.reactor.interrupt()  # as a signal does that comes just now

    with ours, theirs:
        loop.on_poller(lambda: loop.reactor.register(ours, READ, ready))
        theirs.send(b"x")
        assert ended.wait(LONG)
        loop.on_poller(lambda: loop.reactor.unregister(ours))
    assert heeded == [(1, [3])] * 2


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "while a job runs"])
def test_deadline_expires_when_its_time_is_over(loop: Loop, busy: bool) -> None:
    """Deadlines are served by whoever polls, in the order made."""
    expired: list[int] = []
    last = threading.Event()
    reactor = loop.reactor

    def make() -> None:
        reactor.after(0.01, lambda: expired.append(1))
        reactor.after(0.01, lambda: (expired.append(2), last.set()))

    if busy:
        loop.run(lambda: last.wait(LONG))
    loop.on_poller(make)
    assert last.wait(LONG)
    assert expired == [1, 2]


def test_deadline_stays_silent_when_it_was_cancelled(loop: Loop) -> None:
    """What was cancelled doesn't happen, and doesn't keep what comes after it."""
    expired: list[str] = []
    last = threading.Event()

    def make() -> Deadline:
        cancelled = loop.reactor.after(0.01, lambda: expired.append("cancelled"))
        loop.reactor.after(0.01, last.set)
        return cancelled

    loop.on_poller(lambda: make().cancel())
    assert last.wait(LONG)
    assert expired == []


def test_modify_watches_for_writing_when_asked(loop: Loop) -> None:
    """A handler gets the events that its socket is ready for."""
    ours, theirs = socket.socketpair()
    events: list[int] = []
    ready = threading.Event()

    def handle(event: int) -> None:
        events.append(event)
        loop.reactor.unregister(ours)
        ready.set()

    with ours, theirs:
        loop.on_poller(lambda: loop.reactor.register(ours, READ, handle))
        loop.on_poller(lambda: loop.reactor.modify(ours, READ | WRITE, handle))
        assert ready.wait(LONG)
    assert events == [WRITE]


def test_stop_ends_serve_when_the_standby_polls() -> None:
    """Whoever meets the byte that a stop sends: the task thread doesn't poll on."""
    for _ in range(30):
        loop = Loop()
        loop.start()
        with loop.busy():
            assert loop.on_poller(threading.get_ident) != loop.ident
        loop.end()


def test_stop_ends_serve_when_the_standby_has_met_its_wake() -> None:
    """The task thread looks once more before it waits, since the byte may be gone."""

    class Stopping(Jobs):
        stop = False

        @property
        def count(self) -> int:
            if self.stop:
                self.stop = False
                loop.reactor.stop()
                for thread in threading.enumerate():
                    if thread.name == "bgpy-standby":
                        thread.join(LONG)
            return len(self)

    loop = Loop()
    loop.jobs = Stopping()
    loop.start()
    with loop.busy():
        assert loop.on_poller(threading.get_ident) != loop.ident
        loop.jobs.stop = True
    loop.end()


def test_job_that_is_taken_still_is_met_again_though_nothing_waits() -> None:
    """Whoever took it was struck, twice perhaps; it isn't left until the next request comes."""
    ended = threading.Event()

    class Taking(Jobs):
        def popleft(self) -> Callable[[], object]:
            if self.taken is None:
                self.taken = super().popleft()
                raise LookupError("struck")
            self.taken = None
            return ended.set

    loop = Loop()
    loop.jobs = Taking()
    loop.start()
    try:
        loop.run(lambda: None)
        assert ended.wait(LONG)
    finally:
        loop.end()


def test_change_of_a_deadline_that_passed_during_a_job_is_made_before_the_next_poll(
    loop: Loop,
) -> None:
    """A session that came alone has had its job run, and nothing else comes."""
    changed = threading.Event()

    def job() -> None:
        loop.reactor.after(0.0, lambda: loop.reactor.change(changed.set))

    loop.alone(job).send(b"job")
    assert changed.wait(LONG)


def test_several_that_are_ready_at_once_are_run_in_a_row(loop: Loop) -> None:
    """And what one takes alone is run likewise."""
    ran = threading.Semaphore(0)
    clients = [loop.alone(ran.release) for _ in range(3)]
    for _ in range(20):
        with loop.busy():
            for client in clients:
                client.send(b"job")
        for _ in clients:
            assert ran.acquire(timeout=LONG)
        clients[0].send(b"job")
        assert ran.acquire(timeout=LONG)
    assert not ran.acquire(blocking=False)


def test_stop_ends_serve_after_the_job_that_runs(loop: Loop) -> None:
    """A job may stop the reactor; what is queued behind it stays."""
    later: list[int] = []
    loop.run(loop.reactor.stop, lambda: later.append(1))
    loop.wait_served()
    assert (later, len(loop.jobs)) == ([], 1)


def test_row_runs_in_its_order_in_the_task_thread(loop: Loop) -> None:
    """And is over when its last has run."""
    ran: list[tuple[int, int]] = []
    ended = threading.Event()
    note = lambda number: ran.append((number, threading.get_ident()))  # noqa: E731
    loop.run_row(*(partial(note, number) for number in range(50)), ended.set)
    assert ended.wait(LONG)
    assert ran == [(number, loop.ident) for number in range(50)]
    wait_until(lambda: loop.jobs.row is None, "the row is over")


def test_row_ends_when_it_is_time_to_poll(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of it waits as all else does, so that no other client waits for it."""
    ended, real = threading.Event(), time.monotonic

    def pass_time() -> None:
        later = lambda: real() + POLL_AGAIN  # noqa: E731
        monkeypatch.setattr(reactor_module, "monotonic", later)

    loop.run_row(pass_time, lambda: None, ended.set)
    assert ended.wait(LONG)
    assert loop.jobs.spilled == [2]


def test_stop_ends_a_row(loop: Loop) -> None:
    """After the job that runs; what is behind it stays, with all that waits."""
    later: list[int] = []
    loop.run_row(loop.reactor.stop, lambda: later.append(1), lambda: later.append(2))
    loop.wait_served()
    assert (later, len(loop.jobs)) == ([], 2)


def test_interrupt_is_heeded_before_what_is_left_of_a_row(loop: Loop) -> None:
    """As between any two jobs."""
    heeded: list[int] = []
    ended = threading.Event()
    loop.run_row(loop.reactor.interrupt, lambda: heeded.append(loop.interrupts), ended.set)
    assert ended.wait(LONG)
    assert heeded == [1]


def test_row_that_was_struck_is_spilled_before_the_next_poll(loop: Loop) -> None:
    """Its jobs don't wait for what comes next, and whoever polls finds them in the queue."""
    ended = threading.Event()

    def fail() -> None:
        raise RuntimeError("of a signal handler")

    loop.run_row(fail, fail, ended.set)
    assert ended.wait(LONG)


def test_standby_spills_a_row_before_it_polls(loop: Loop) -> None:
    """What it receives may ask about a job of the row, which is found in the queue then."""
    over, ended = threading.Event(), threading.Event()
    loop.run_row(lambda: over.wait(LONG), ended.set)
    wait_until(lambda: loop.jobs.taken is not None, "the row runs")
    try:
        found = loop.on_poller(lambda: (threading.get_ident(), loop.jobs.row, len(loop.jobs)))
    finally:
        over.set()
    assert found[0] != loop.ident
    assert found[1:] == (None, 1)
    assert ended.wait(LONG)


def test_serve_goes_on_when_what_surrounds_a_job_raises(loop: Loop) -> None:
    """A signal handler that a task has set may raise there; what is queued behind it runs."""
    ran = threading.Event()

    def fail() -> None:
        raise RuntimeError("of a signal handler")

    loop.run(fail, fail, ran.set)
    assert ran.wait(LONG)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "while a job runs"])
def test_interrupt_is_heeded_by_the_task_thread_once(loop: Loop, busy: bool) -> None:
    """An interrupt ends the poll, or waits for the job that runs; another one comes again."""
    for count in range(1, 20):
        if busy:
            with loop.busy():
                loop.reactor.interrupt()
                assert loop.on_poller(lambda: loop.interrupts) == count - 1
        else:
            loop.reactor.interrupt()
        ended = threading.Event()
        loop.run(ended.set)
        assert ended.wait(LONG)
        assert loop.interrupts == count


@pytest.mark.parametrize("busy", [False, True])
def test_numbers_of_signals_are_told_by_the_thread_that_polls(loop: Loop, busy: bool) -> None:
    """Also while a job keeps the task thread; each once, the wakes among them not at all."""
    with loop.busy() if busy else nullcontext():
        wakeup = socket.socket(fileno=loop.reactor.wakeup_fd)  # by `os.write` not on Windows
        wakeup.send(b"\0\2\0\x0f\2" + bytes(5000) + b"\1")
        wakeup.detach()
        wait_until(lambda: len(loop.signals) == 4, "all are told")
    assert [number for number, _ in loop.signals] == [2, 15, 2, 1]
    assert all((thread == loop.ident) is not busy for _, thread in loop.signals)


def test_drain_polls_on_when_serve_has_returned(loop: Loop) -> None:
    """Bytes still move after the last job, until nothing is left."""
    got: list[bytes] = []
    client = loop.client(got.append)
    loop.reactor.stop()
    loop.wait_served()
    client.sendall(b"rest")
    loop.reactor.drain(lambda: not got, LONG)
    assert got == [b"rest"]


def test_drain_gives_up_when_its_time_is_over(loop: Loop) -> None:
    """A peer that takes nothing can't keep the server from ending."""
    loop.reactor.stop()
    loop.wait_served()
    loop.reactor.drain(lambda: True, 0.01)


def test_drain_takes_the_role_back_when_the_standby_had_it() -> None:
    """A last job long enough for a takeover doesn't leave drain waiting."""
    loop = Loop()
    loop.start()
    loop.run(lambda: loop.on_poller(loop.reactor.stop))
    loop.wait_served()
    loop.reactor.drain(lambda: False, LONG)
    loop.end()


def test_close_leaves_nothing_behind_when_it_returns() -> None:
    """No thread, no descriptor; a wake or a change afterwards is harmless."""
    before = sorted(os.listdir("/dev/fd"))
    for started in (True, False):
        loop = Loop()
        if started:
            loop.start()
            loop.run(lambda: None)
        loop.end()
        loop.reactor.wake()
        loop.reactor.change(lambda: None)
    assert sorted(os.listdir("/dev/fd")) == before
    assert "bgpy-standby" not in [thread.name for thread in threading.enumerate()]


def test_wake_is_harmless_when_the_pipe_is_full() -> None:
    """A hundred thousand wakes that nobody reads don't block or raise."""
    reactor = Reactor(lambda: None)
    for _ in range(100_000):
        reactor.wake()
    reactor.close()


def test_chores_are_done_when_their_time_has_come(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner's chores ride on the ticks and polls of the standby."""
    monkeypatch.setattr(reactor_module, "CHORES", 0.0)
    loop.run(lambda: None)
    before = loop.on_poller(lambda: loop.chores)
    with loop.busy():
        loop.on_poller(lambda: None)
    assert loop.on_poller(lambda: loop.chores) > before


def test_chores_are_done_though_nothing_runs_when_somebody_asks_before_their_time(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for all that ask, and each time."""
    monkeypatch.setattr(reactor_module, "CHORES", 0.2)
    for _ in range(2):
        wait_until(lambda: not loop.reactor._role.armed, "the standby sleeps")
        before = loop.chores
        for _ in range(5):
            loop.reactor.change(loop.reactor.tend)
        wait_until(lambda before=before: loop.chores > before, "they are done")
    assert not loop.on_poller(lambda: len(loop.reactor._agenda.deadlines))


def _switches(pid: int) -> dict[str, str]:
    """How often each thread of a process has gone to sleep, by its id."""
    counts = {}
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        lines = status.read_text().splitlines()
        counts[status.parent.name] = next(
            line for line in lines if line.startswith("voluntary_ctxt_switches")
        )
    return counts


@pytest.mark.skipif(sys.platform != "linux", reason="tells nothing of its threads")
def test_server_never_wakes_up_when_nothing_is_called(
    start: Callable[..., tuple[Handle, Client]],
) -> None:
    """Soon after its last call, with a client still connected, no thread runs any more."""
    handle, client = start()
    client.initialize(tasks.init_task, tasks.exec_task, tasks.exit_task)
    for _ in range(100):
        client.execute({"command": "rest"})
    client.ping()
    before: dict[str, str] = {}
    for _ in range(10):
        now = _switches(handle.pid)
        if now == before:
            break
        before = now
        # Longer than every timer that could be running.
        time.sleep(1.3 * reactor_module.CHORES)
    else:
        raise AssertionError(f"it goes on waking up: {before}, {now}")
    assert len(now) == 2
    assert client.ping() > 0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_handler_runs_when_the_standby_has_taken_the_byte_of_its_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The signal comes just as the task thread gets the role back, and nothing else wakes it."""
    nothing = SimpleNamespace(
        count=0, taken=None, row=None, spill=lambda: None
    )  # as a queue's: reading them runs no function

    class Lock:
        """Taking it is one step of C's, in which a signal arrives the first time."""

        __enter__ = staticmethod(
            partial(next, map(ctypes.CDLL(None)["raise"], [signal.SIGUSR1]), None)
        )
        __exit__ = slice  # which takes three arguments

    reactor = Reactor(lambda: None)
    woken, wake = threading.Event(), reactor.wake
    monkeypatch.setattr(reactor, "wake", lambda: None)  # the standby has read what would wake
    reactor._role.polling = Lock()  # type: ignore[assignment]
    reactor._role.standby = True
    watchdog = threading.Timer(LONG, lambda: (woken.set(), reactor.stop(), wake()))
    before = signal.signal(signal.SIGUSR1, lambda number, frame: reactor.stop())
    watchdog.start()
    try:
        reactor.serve(nothing, lambda: None, lambda job: None, lambda: None)
    finally:
        watchdog.cancel()
        signal.signal(signal.SIGUSR1, before)
        monkeypatch.undo()
        reactor.close()
    assert not woken.is_set()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
@pytest.mark.parametrize("lock", ["polling", "_lock"])
def test_forked_child_does_not_wait_for_what_the_standby_held(lock: str) -> None:
    """Where a handler has forked while the task thread was about to take it."""
    reactor = Reactor(lambda: None)
    held = reactor._role.polling if lock == "polling" else reactor._lock

    def go_on() -> None:
        reactor.close_in_child()
        with held:
            pass

    assert forked_while_held(held, go_on) == 0
    reactor.close()
