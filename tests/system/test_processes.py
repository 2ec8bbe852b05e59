"""Tests of telling processes apart and waiting for them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bgpy.system import processes


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that lives until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        yield process
        process.kill()


def test_start_time_stays_when_process_lives(child: subprocess.Popen[bytes]) -> None:
    """The identity of a process is the same each time, and another than that of others."""
    first = processes.start_time(child.pid)
    assert first is not None
    assert processes.start_time(child.pid) == first
    assert processes.start_time(os.getpid()) != first


@pytest.mark.skipif(os.name != "posix", reason="there are no zombies elsewhere")
def test_start_time_is_none_when_process_is_a_zombie(child: subprocess.Popen[bytes]) -> None:
    """A process that ended counts as gone before its parent has waited for it."""
    start = processes.start_time(child.pid)
    assert start is not None
    child.kill()
    assert processes.wait_gone(child.pid, start, 60)
    assert processes.start_time(child.pid) is None


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 5])
def test_start_time_is_none_when_there_is_no_process(pid: int) -> None:
    """Numbers that no process has give None."""
    assert processes.start_time(pid) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process name set by a link")
def test_start_time_is_read_when_name_is_odd(tmp_path: os.PathLike[str]) -> None:
    """A process name with parentheses and blanks doesn't confuse."""
    name = os.path.join(tmp_path, "a) Z (b")
    os.symlink(sys.executable, name)
    with subprocess.Popen([name, "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        first = processes.start_time(process.pid)
        second = processes.start_time(process.pid)
        process.communicate(b"\n")
    assert first is not None
    assert first == second


def test_wait_gone_gives_false_when_time_is_over(child: subprocess.Popen[bytes]) -> None:
    """A living process is waited for no longer than asked."""
    start = processes.start_time(child.pid)
    assert start is not None
    assert not processes.wait_gone(child.pid, start, 0)
    assert not processes.wait_gone(child.pid, start, 0.01)


def test_wait_gone_gives_true_when_process_ends(child: subprocess.Popen[bytes]) -> None:
    """Waiting without limit ends when the process does."""
    start = processes.start_time(child.pid)
    assert start is not None
    child.communicate(b"\n")
    assert processes.wait_gone(child.pid, start)


def test_wait_gone_gives_true_when_pid_is_another_process_now() -> None:
    """A process with that pid and another start time is not waited for."""
    assert processes.wait_gone(os.getpid(), "another")


def test_wait_gone_works_when_there_are_no_process_descriptors(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel has none, the waiting is done in another way."""

    def refuse(pid: int, flags: int = 0) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    start = processes.start_time(child.pid)
    assert start is not None
    assert not processes.wait_gone(child.pid, start, 0.01)
    child.communicate(b"\n")
    assert processes.wait_gone(child.pid, start, 60)
    assert processes.wait_gone(os.getpid(), "another", 60)


def test_boot_id_stays_when_asked_again() -> None:
    """It has 16 bytes, which stay the same on one boot."""
    assert len(processes.boot_id()) == 16
    assert processes.boot_id() == processes.boot_id()


def test_pid_namespace_is_same_when_asked_by_a_child() -> None:
    """A child in the same namespace gets the same number."""
    code = "from bgpy.system import processes; print(processes.pid_namespace())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert int(told.stdout) == processes.pid_namespace()
