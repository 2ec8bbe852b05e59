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
    assert processes.ProcessId(child.pid, start).wait(60)
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


def test_wait_gives_false_when_time_is_over(child: subprocess.Popen[bytes]) -> None:
    """A living process is waited for no longer than asked."""
    start = processes.start_time(child.pid)
    assert start is not None
    assert not processes.ProcessId(child.pid, start).wait(0)
    assert not processes.ProcessId(child.pid, start).wait(0.01)


def test_wait_gives_true_when_process_ends(child: subprocess.Popen[bytes]) -> None:
    """Waiting without limit ends when the process does."""
    start = processes.start_time(child.pid)
    assert start is not None
    child.communicate(b"\n")
    assert processes.ProcessId(child.pid, start).wait()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows that a process is ending")
def test_process_is_ending_when_all_of_its_threads_are(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first thread alone may be through while others still serve."""
    there = processes.ProcessId.of(child.pid)
    assert not there.is_ending()
    threads = {str(child.pid): b"4", "7": b"0", "8": b"4"}
    real = processes._stat

    def stat(path: str) -> list[bytes]:
        fields = real(f"/proc/{child.pid}/stat")
        fields[6] = threads[path.split("/")[-2]]
        return fields

    monkeypatch.setattr(processes, "_stat", stat)
    monkeypatch.setattr(os, "listdir", lambda path: list(threads))
    assert not there.is_ending()
    threads["7"] = b"1028"  # with another flag
    assert there.is_ending()
    child.kill()
    monkeypatch.undo()
    assert there.wait(60)
    assert not there.is_ending()


def test_wait_gives_true_when_pid_is_another_process_now() -> None:
    """A process with that pid and another start time is not waited for."""
    assert processes.ProcessId(os.getpid(), "another").wait()


def test_wait_works_when_there_are_no_process_descriptors(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel has none, the waiting is done in another way."""

    def refuse(pid: int, flags: int = 0) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    start = processes.start_time(child.pid)
    assert start is not None
    assert not processes.ProcessId(child.pid, start).wait(0.01)
    child.communicate(b"\n")
    assert processes.ProcessId(child.pid, start).wait(60)
    assert processes.ProcessId(os.getpid(), "another").wait(60)


def test_boot_id_stays_when_asked_again() -> None:
    """It has 16 bytes, which stay the same on one boot."""
    assert len(processes.boot_id()) == 16
    assert processes.boot_id() == processes.boot_id()


def test_pid_namespace_is_same_when_asked_by_a_child() -> None:
    """A child in the same namespace gets the same number."""
    code = "from bgpy.system import processes; print(processes.pid_namespace())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert int(told.stdout) == processes.pid_namespace()


LIMITED = """
import os, resource, sys
from bgpy.errors import BgpyError
from bgpy.system import processes
from bgpy.system.processes import ProcessId

process = ProcessId.of(int(sys.argv[1]))
ended = ProcessId(process.pid, "0")
assert process.alive() is True and ended.alive() is False
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
assert process.alive() is ended.alive() is None
assert not process.is_gone() and not process.wait(0.05)
assert ProcessId.of(process.pid).alive() is None
assert ProcessId.of(2**22 + 5).alive() is False
try:
    process.kill()
except BgpyError as error:
    assert error.pid == process.pid
else:
    raise AssertionError
print("alive", flush=True)
sys.stdin.readline()
assert process.wait(60) and process.alive() is False
print("gone")
"""
"""One whose descriptors are all in use, before and after the other process ends."""

PROBE = """
import ctypes
libc = ctypes.CDLL(None)
flags = 1 << 18 | 16384  # MS_PRIVATE | MS_REC
raise SystemExit(libc.unshare(0x00020000) or libc.mount(b"none", b"/", None, flags, None))
"""

HIDDEN = """
import ctypes, os, sys
from bgpy.system.processes import ProcessId

process = ProcessId.of(int(sys.argv[1]))
assert process.alive() is True
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x00020000) == 0
flags = 1 << 18 | 16384  # MS_PRIVATE | MS_REC
assert libc.mount(b"none", b"/", None, flags, None) == 0
kind, option = sys.argv[2].split()
what = b"tmpfs" if kind == "tmpfs" else b"proc"
assert libc.mount(what, b"/proc", what, 0, option.encode() if option != "-" else None) == 0
if option != "-":
    os.setgid(65534)
    os.setuid(65534)
assert process.alive() is None and not process.is_gone(), process.alive()
assert ProcessId.of(process.pid).alive() is None
print("alive", flush=True)
sys.stdin.readline()
assert process.wait(60)
assert process.alive() is False, process.alive()
print("gone")
"""
"""One that sees nothing of the process any more, though it may still be there."""


def watched_by(code: str, child: subprocess.Popen[bytes], *words: str) -> None:
    """Run `code`, which looks at the child while it lives and when it is gone."""
    command = [sys.executable, "-c", code, str(child.pid), *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as watcher:
        assert watcher.stdin is not None
        assert watcher.stdout is not None
        assert watcher.stderr is not None
        first = watcher.stdout.readline()
        assert first == b"alive\n", watcher.stderr.read()
        child.kill()
        child.wait()
        told, failed = watcher.communicate(b"\n", 60)
    assert told == b"gone\n", failed


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and limits that bite")
def test_nothing_is_claimed_without_a_descriptor_left(child: subprocess.Popen[bytes]) -> None:
    """Neither alive nor gone, no raw error, and gone once the kernel says so."""
    watched_by(LIMITED, child)


@pytest.mark.skipif(sys.platform != "linux", reason="needs mount namespaces")
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="needs root, to mount")
@pytest.mark.parametrize("hidden", ["proc hidepid=1", "proc hidepid=2", "tmpfs -"])
def test_nothing_is_claimed_of_a_process_that_proc_hides(
    child: subprocess.Popen[bytes], hidden: str
) -> None:
    """Another account's under hidepid, and any without /proc."""
    if subprocess.run([sys.executable, "-c", PROBE], check=False).returncode:
        pytest.skip("mount namespaces can't be made here: a sandbox, or a chroot")
    watched_by(HIDDEN, child, hidden)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to be another")
def test_a_process_of_another_account_is_seen_and_not_ended(
    child: subprocess.Popen[bytes],
) -> None:
    """What the kernel refuses is an error of bgpy's that names the process."""
    code = (
        "import os, sys; from bgpy.errors import BgpyError; from bgpy.system.processes import *\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "process = ProcessId.of(int(sys.argv[1])); assert process.alive() is True\n"
        "try: process.kill()\n"
        "except BgpyError as error: print(error.pid)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(child.pid)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (f"{child.pid}\n", "")
    assert child.poll() is None


def test_environment_is_copied_while_other_threads_change_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A variable that goes meanwhile is left out."""

    class Changing(dict[str, str]):
        def __iter__(self) -> Iterator[str]:
            names = list(super().__iter__())
            self.pop("gone", None)
            return iter(names)

    monkeypatch.setattr(os, "environ", Changing(gone="1", stays="2"))
    assert processes.environment() == {"stays": "2"}
