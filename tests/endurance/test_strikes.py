"""Truths of the strikes: a moment of them holds, and what they look for would be found."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bgpy import CallTimeout, NotRunning, ServerGone
from endurance.strikes.book import Book
from endurance.strikes.gap import HAS_GAP
from endurance.strikes.striker import Striker, Struck, raise_struck
from endurance.strikes.watch import HUNG

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

ROOT = Path(__file__).parents[2]
SECONDS = 20


def test_strikes_leave_nothing_wrong_on_either_side() -> None:
    """No hang, no lost future, nothing answered twice or wrongly, no lock left, all told true."""
    command = [sys.executable, "-m", "endurance.strikes", "--seconds", str(SECONDS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_watch_ends_a_process_that_hangs_and_shows_where() -> None:
    """Its exit code says so, and the step and all stacks are printed."""
    text = """
import threading
from endurance.strikes.watch import Watch
watch = Watch("a test", 0.1)
watch.step("the second step")
def hang():
    threading.Event().wait()
hang()
"""
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == HUNG
    assert "HANG: a test: the second step" in done.stderr
    assert "in hang" in done.stderr


@pytest.fixture
def striker() -> Striker:
    """A striker; the handler of its signal is as before when the test is over."""
    before = signal.getsignal(signal.SIGUSR1)
    yield Striker()  # type: ignore[misc]
    signal.signal(signal.SIGUSR1, before)


def _by_hand(lock: threading.Lock) -> int:
    lock.acquire()
    try:
        return len("body")
    finally:
        lock.release()


def _by_with(lock: threading.Lock) -> int:
    with lock:
        return len("body")


def _places_that_leave(striker: Striker, function: object) -> list[int]:
    """Run the function struck at its 1st, 2nd ... place; where the lock was left."""
    left = []
    for place in range(1, 50):
        lock, fallen = threading.Lock(), striker.fallen
        striker.arm(place, raise_struck)
        try:
            function(lock)  # type: ignore[operator]
        except Struck:
            pass
        finally:
            striker.disarm()
        if lock.locked():
            left.append(place)
        if striker.fallen == fallen:
            return left
    raise AssertionError("it was struck more often than it has places")


def test_striker_finds_the_gap_between_acquire_and_try(striker: Striker) -> None:
    """A lock that is taken by hand is left at one place, one that is taken by `with` at none.

    3.14 and newer have one there too, which is spared.
    """
    assert len(_places_that_leave(striker, _by_hand)) == 1
    assert _places_that_leave(striker, _by_with) == []


def test_gap_that_is_spared_is_there_from_3_14_on(
    striker: Striker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, a `with` leaves no lock, and nothing has to be spared, as docs/pythons.md says."""
    monkeypatch.setattr("endurance.strikes.striker.is_entering", lambda frame: False)
    assert len(_places_that_leave(striker, _by_with)) == (1 if HAS_GAP else 0)


def test_book_agrees_when_what_ran_is_what_was_told() -> None:
    """A value ran once, what did not start never, and of the rest nothing is claimed."""
    book = Book()
    value, receipt, refused, late, struck = (book.take() for _ in range(5))
    book.value(value, {"id": value})
    book.receipt(receipt, {"message": "Received 'EXEC'"})
    book.error(refused, NotRunning())
    book.error(late, CallTimeout("", progress="started"))
    book.error(struck, KeyboardInterrupt())
    assert book.owed({value: 1}) == [receipt, late]
    for ran in (0, 1):
        assert book.faults({value: 1, receipt: 1, late: 1, struck: ran}) == []


@pytest.mark.parametrize("times", [0, 2])
def test_book_tells_when_a_call_ran_too_often_or_not_at_all(times: int) -> None:
    """Whatever its caller was told of it, and also where nobody made it."""
    book = Book()
    value, late, refused = (book.take() for _ in range(3))
    book.value(value, {"id": value})
    book.error(late, CallTimeout("", progress="started"))
    book.error(refused, ServerGone("", progress="not started"))
    ran = {value: times, late: times, refused: 1, 99: 1}
    assert len(book.faults(ran)) == 4


def test_book_tells_when_a_call_was_given_anothers_answer() -> None:
    """A value, or a receipt that isn't one."""
    book = Book()
    first, second = book.take(), book.take()
    book.value(first, {"id": second})
    book.receipt(second, {"id": second})
    assert len(book.wrongs) == 2
