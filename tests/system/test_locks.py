"""Tests of the lock and the guard."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest

from bgpy.errors import StartupError
from bgpy.system import locks
from endurance.strikes.gap import is_entering


def test_lock_is_held_when_taken(tmp_path: Path) -> None:
    """A lock excludes a second taker, is seen as held, and is free once let go."""
    path = str(tmp_path / "lock")
    first, second = locks.open_lock(path), locks.open_lock(path)
    assert not locks.is_held(path)
    assert locks.try_lock(first)
    assert not locks.try_lock(second)
    assert locks.is_held(path)
    locks.unlock(first)
    assert not locks.is_held(path)
    assert locks.try_lock(second)
    os.close(first)
    os.close(second)


COUNT = """
import sys
from bgpy.system import locks
for _ in range(200):
    with locks.guarded(sys.argv[1]):
        with open(sys.argv[2]) as file:
            number = int(file.read())
        with open(sys.argv[2], "w") as file:
            file.write(str(number + 1))
"""


def test_guard_lets_one_in_when_many_come(tmp_path: Path) -> None:
    """Processes that change a file under the guard don't get into each other's way."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", COUNT, str(tmp_path / "guard"), str(counter)]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert counter.read_text() == "800"


def test_guard_excludes_the_threads_of_one_process(tmp_path: Path) -> None:
    """And a thread that leaves doesn't let in two of those who wait."""
    path, inside, most = str(tmp_path / "guard"), [0], [0]
    counting = threading.Lock()

    def come_and_go() -> None:
        for _ in range(100):
            with locks.guarded(path):
                with counting:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                # Let the others try.
                os.stat(path)
                with counting:
                    inside[0] -= 1

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (inside, most) == ([0], [1])


class Struck(Exception):
    """What the signal handler raises."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signals at any instruction")
# A file that was lost on the way is closed by its destructor, which tells of it.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_guard_is_free_wherever_a_signal_handler_raises(tmp_path: Path) -> None:
    """No lock and no descriptor is left behind, however far taking or leaving it had come."""
    path, struck = str(tmp_path / "guard"), 0
    os.close(locks.open_lock(path))

    def strike(number: int, frame: FrameType | None) -> None:
        spared = frame is not None and (is_entering(frame) or frame.f_code is strike.__code__)
        if not spared:
            raise Struck
        signal.setitimer(signal.ITIMER_REAL, 1e-4, 1)  # no library can close that place of 3.14

    before = signal.signal(signal.SIGALRM, strike)
    descriptors = len(os.listdir("/dev/fd"))
    chance = random.Random(11)
    try:
        for _ in range(3000):
            try:
                # Again and again: what is raised in a destructor is lost.
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, 6e-5), 1)
                while True:
                    with locks.guarded(path):
                        pass
                    locks.is_held(path)
            except Struck:
                struck += 1
            # Nobody holds it now: a descriptor of its own gets the lock at once.
            other = os.open(path, os.O_RDWR)
            assert locks.try_lock(other)
            os.close(other)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert struck == 3000
    assert len(os.listdir("/dev/fd")) == descriptors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_guard_is_not_kept_by_a_child_that_was_forked_meanwhile(tmp_path: Path) -> None:
    """A task that forks while another thread looks at a record keeps nobody out."""
    path = str(tmp_path / "guard")
    held, forked = threading.Event(), threading.Event()

    def hold() -> None:
        with locks.guarded(path):
            held.set()
            forked.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    told, tell = os.pipe()
    ready, say_ready = os.pipe()
    child = os.fork()
    if not child:
        os.write(say_ready, b".")
        os.read(told, 1)
        os._exit(0)
    os.read(ready, 1)
    forked.set()
    thread.join()
    other = os.open(path, os.O_RDWR)
    try:
        assert locks.try_lock(other)
    finally:
        os.write(tell, b".")
        os.waitpid(child, 0)
        for each in (told, tell, ready, say_ready, other):
            os.close(each)


FORK = """
import os, signal, sys, threading, warnings
from collections import deque
warnings.simplefilter("ignore")
from bgpy.system import locks

forking, opened, forked = threading.Event(), threading.Event(), threading.Event()

class Slow(deque):
    def append(self, file):
        opened.set()
        forking.wait()
        forked.wait(0.3)  # in vain, where the fork waits for this
        super().append(file)

def work():
    with locks.guarded(sys.argv[1]):
        forked.wait()

locks._last_opened = Slow()
os.register_at_fork(before=forking.set)  # called before what is registered by the library
thread = threading.Thread(target=work)
thread.start()
opened.wait()
child = os.fork()
if not child:
    signal.alarm(20)  # by default it ends the process
    with locks.guarded(sys.argv[1]):
        os._exit(0)
forked.set()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_guard_is_not_kept_by_a_child_that_was_forked_while_it_was_opened(tmp_path: Path) -> None:
    """The fork waits until the copy that the child gets is known to it."""
    command = [sys.executable, "-c", FORK, str(tmp_path / "guard")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.stdout.strip(), ended.stderr) == ("0", "")


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.EMFILE, "close files"), (errno.ENOSPC, "make room"), (errno.EISDIR, "remove")],
)
def test_a_file_that_cant_be_used_says_what_is_at_fault(number: int, advice: str) -> None:
    """The machine's want of something isn't blamed on the file."""
    with pytest.raises(StartupError, match="can't be used") as caught, locks.opened("/lock"):
        raise OSError(number, os.strerror(number))
    assert caught.value.advice is not None
    assert advice in str(caught.value.advice)
