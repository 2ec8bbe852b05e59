"""Truths of late imports: once, whole in a forked child, and an error that says why not."""

from __future__ import annotations

import errno
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest

from bgpy import late, shortage
from bgpy.errors import Unreachable
from bgpy.late import once
from tests.support.fixtures import script

__all__ = ["script"]

Script = Callable[..., "Popen[str]"]


def test_once_calls_once_when_many_threads_come_at_the_same_time() -> None:
    """All get what the first has made."""
    made: list[object] = []
    barrier = threading.Barrier(8)

    @once
    def load() -> object:
        made.append(object())
        return made[-1]

    got: list[object] = []

    def work() -> None:
        barrier.wait()
        got.append(load())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(made) == 1
    assert got == made * 8


def test_once_tries_again_when_an_exception_struck() -> None:
    """Nothing is kept of an import that a signal handler has ended, and no lock is held."""
    strikes = [KeyboardInterrupt()]

    @once
    def load() -> int:
        if strikes:
            raise strikes.pop()
        return 1

    with pytest.raises(KeyboardInterrupt):
        load()
    thread = threading.Thread(target=load)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert load() == 1


def test_once_says_so_when_code_interrupts_the_import_that_it_needs() -> None:
    """A signal handler gets an error instead of a module that is half there."""
    errors: list[Exception] = []

    @once
    def load() -> int:
        try:
            load()
        except Unreachable as error:
            errors.append(error)
        return 1

    assert load() == 1
    assert "needs an import that it has just interrupted" in str(errors[0])
    assert load() == 1


@pytest.mark.parametrize("kind", [OSError, ImportError])
def test_once_is_unreachable_when_no_descriptor_is_free(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import needs one; the loader of a library in C doesn't say that it got none."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    @once
    def load() -> int:
        raise OSError(errno.EMFILE, "Too many open files") if kind is OSError else ImportError("x")

    monkeypatch.setattr(shortage.os, "open", refuse)
    with pytest.raises(Unreachable, match="no file descriptor free") as caught:
        load()
    assert "ulimit -n" in str(caught.value.advice)


def test_once_raises_the_import_s_own_error_when_nothing_is_short() -> None:
    """A module that is missing is missing."""

    @once
    def load() -> int:
        raise ModuleNotFoundError("no _ssl here")

    with pytest.raises(ModuleNotFoundError):
        load()


def test_once_says_that_the_program_ends_when_nothing_can_be_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a ``__del__`` meets it that runs when modules are taken down."""

    @once
    def load() -> int:
        raise ImportError("sys.meta_path is None, Python is likely shutting down")

    monkeypatch.setattr(late.sys, "is_finalizing", lambda: True)
    with pytest.raises(Unreachable, match="the interpreter is shutting down"):
        load()


FORK = """
import os, signal, sys, threading, warnings
warnings.simplefilter("ignore")
from bgpy.late import once

sys.path.insert(0, sys.argv[1])
sys.began, sys.forking = threading.Event(), threading.Event()

@once
def load():
    import takes_its_time
    return takes_its_time

thread = threading.Thread(target=load)
thread.start()
sys.began.wait()
sys.forking.set()
child = os.fork()
if not child:
    signal.alarm(20)  # by default it ends the process
    os._exit(load().value)
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), load().value)
"""

SLOW = """
import sys, time
sys.began.set()
sys.forking.wait()
time.sleep(0.3)  # as the import goes on while the other thread forks
value = 7
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_child_imports_when_it_was_forked_in_the_midst_of_the_same_import(
    script: Script, tmp_path: Path
) -> None:
    """The fork waits for the import, so that no lock of a thread that isn't there stays."""
    (tmp_path / "takes_its_time.py").write_text(SLOW)
    output, errors = script(FORK, tmp_path).communicate(timeout=60)
    assert (output.split(), errors) == (["7", "7"], "")
