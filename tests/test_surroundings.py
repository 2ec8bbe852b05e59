"""The tests' own watchmen: what a test leaves behind is noticed, and named."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.strikes import Struck, strike
from tests.support.surroundings import changes, surroundings

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX")


@contextmanager
def logging_to(name: str, **changed: Any) -> Iterator[None]:
    log = logging.getLogger(name)
    before = {name: getattr(log, name) for name in changed}
    vars(log).update(changed)
    yield
    vars(log).update(before)


@contextmanager
def set_by(change: Callable[[Any], Any], value: Any, before: Any) -> Iterator[None]:
    change(value)
    yield
    change(before)


@contextmanager
def signals_waking() -> Iterator[None]:
    """As a server has them in its process."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    yield
    assert signal.set_wakeup_fd(-1) == writing, "to look changes nothing"
    os.close(reading)
    os.close(writing)


@contextmanager
def masked() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def block(blocked: bool) -> None:
    how = signal.SIG_BLOCK if blocked else signal.SIG_UNBLOCK  # type: ignore[attr-defined,unused-ignore]
    signal.pthread_sigmask(how, {signal.SIGUSR1})  # type: ignore[attr-defined,unused-ignore]


def handle(handler: Any) -> None:
    signal.signal(signal.SIGINT, handler)


def wait_for_alarm(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds)  # type: ignore[attr-defined,unused-ignore]


def trace(*_: Any) -> None: ...


LEFT: dict[str, tuple[Callable[[], Any], str]] = {
    "trace": (lambda: set_by(threading.settrace, trace, None), "the trace function of new threads"),
    "level": (lambda: logging_to("bgpy.server", level=30), "the logger bgpy.server"),
    "propagate": (lambda: logging_to("bgpy", propagate=False), "the logger bgpy"),
    "disabled": (lambda: logging_to("bgpy.client", disabled=True), "the logger bgpy.client"),
    "handler": (lambda: logging_to("", handlers=[logging.NullHandler()]), "the logger root"),
    "disable": (
        lambda: set_by(logging.disable, 50, 0),
        "the level below which nothing is logged: 0 became 50",
    ),
    "garbage": (
        lambda: set_by(lambda on: gc.enable() if on else gc.disable(), False, True),
        "the collection of garbage: True became False",
    ),
    "signal": (
        lambda: set_by(handle, signal.SIG_IGN, signal.getsignal(signal.SIGINT)),
        "the handler of <Signals.SIGINT",
    ),
}
LEFT_ON_POSIX: dict[str, tuple[Callable[[], Any], str]] = {
    "wake-up": (signals_waking, "the wake-up descriptor of signals: -1 became "),
    "mask": (lambda: set_by(block, True, False), "the blocked signals"),
    "timer": (lambda: set_by(wait_for_alarm, 600.0, 0.0), "the timer"),
    "umask": (masked, "the umask"),
}


@pytest.mark.parametrize(
    "what", [*LEFT, *(pytest.param(name, marks=posix) for name in LEFT_ON_POSIX)]
)
def test_what_a_test_leaves_behind_is_named(what: str) -> None:
    """And nothing else; once it is undone nothing is."""
    left, told = {**LEFT, **LEFT_ON_POSIX}[what]
    before = surroundings()
    with left():
        found = changes(before, surroundings())
    assert len(found) == 1
    assert found[0].startswith(told)
    assert changes(before, surroundings()) == []


def test_variables_and_the_working_directory_are_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also one that is new, or gone."""
    before = surroundings()
    monkeypatch.setenv("OF_A_TEST", "1")
    monkeypatch.delenv("BGPY_HOME")
    monkeypatch.chdir(tmp_path)
    assert [each.partition(":")[0] for each in changes(before, surroundings())] == [
        "the variable BGPY_HOME",
        "the variable OF_A_TEST",
        "the working directory",
    ]


def test_exception_that_is_still_being_handled_is_noticed() -> None:
    """Whatever is raised later would have it as its context."""
    before = surroundings()
    try:
        raise LookupError("left")
    except LookupError:
        found = changes(before, surroundings())
    assert found == ["the exception being handled: None became LookupError('left')"]
    assert changes(before, surroundings()) == []


def _empties(handed: deque[int]) -> int | None:
    while True:
        try:
            handed.popleft()
        except IndexError as error:
            if error.args == ():
                raise
            return None
        finally:
            gc.isenabled()


def test_strike_at_any_line_leaves_no_exception_to_be_handled() -> None:
    """A line may begin with the end of an ``except``, where no signal is taken."""
    strikes = 0
    for at in range(100):
        try:
            if strike(at, _empties, deque([1])):
                break
        except Struck:
            strikes += 1
        assert sys.exception() is None
    assert strikes > 5


def test_users_settings_of_pytest_and_colours_dont_reach_what_tests_start() -> None:
    """A page that shows what pytest prints is read alike, whatever the user asked of this run."""
    shown = "tests/test_docs.py::test_page_does_what_it_shows[docs/howto/testing.md]"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", shown],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTEST_ADDOPTS": "--verbose", "FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
