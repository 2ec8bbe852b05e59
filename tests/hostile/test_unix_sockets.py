"""Unix sockets among strangers: who may come, what is in the place, and what stays behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest

from bgpy import (
    AuthenticationError,
    Client,
    Handle,
    Limits,
    NotRunning,
    Server,
    StartupError,
    address,
)
from bgpy.calling.blocking import dialling
from bgpy.errors import NotBgpy, Unreachable
from bgpy.serving.io import listener
from tests.support.gate import Gate
from tests.support.peers import insist, wait_until
from tests.support.served import TOKEN
from tests.support.tasks.counting import TASKS

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Python has Unix sockets on POSIX only")


def _log(handle: Handle) -> str:
    return Path(handle.log_file or "").read_text()


def _bind(path: str) -> None:
    """Listen at `path`, as a server does, and end."""
    listener.listen(address.parse(f"unix:{path}")).close()


# Who comes

CLIENT_OF_ANOTHER_USER = """
import os, socket, sys
os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.settimeout(20)
try:
    sock.send(b"hello")
    print(sock.recv(10))
except ConnectionError:
    print(b"")
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can be others")
def test_client_of_another_user_is_turned_away(
    folder: Path, start_at: Callable[..., Handle]
) -> None:
    """Though somebody opened folder and socket to all; one line tells of it."""
    handle = start_at()
    folder.chmod(0o777)
    (folder / "socket").chmod(0o777)
    done = subprocess.run(
        [sys.executable, "-c", CLIENT_OF_ANOTHER_USER, str(folder / "socket")],
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("b''\n", "")
    with Client(handle.address, token=TOKEN) as client:
        assert client.ping() > 0
    (line,) = [line for line in _log(handle).splitlines() if "65534" in line]
    assert "WARNING" in line
    assert "refused" in line


SERVER_OF_ANOTHER_USER = """
import os, socket, sys
os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
sock.bind(sys.argv[1])
sock.listen()
print("listening", flush=True)
peer = sock.accept()[0]
print(len(peer.recv(100)))
"""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can be others")
def test_server_of_another_user_gets_no_word(folder: Path) -> None:
    """The client looks who it is before it says hello."""
    folder.chmod(0o777)
    with subprocess.Popen(
        [sys.executable, "-c", SERVER_OF_ANOTHER_USER, str(folder / "socket")],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        with (
            Client(f"unix:{folder}/socket", token=TOKEN) as client,
            pytest.raises(AuthenticationError, match="uid 65534"),
        ):
            client.ping()
        assert process.stdout.read() == "0\n"


@pytest.mark.parametrize("side", [listener, dialling])
def test_uid_is_looked_at_on_both_sides(
    folder: Path, monkeypatch: pytest.MonkeyPatch, side: object
) -> None:
    """Each by itself: the other may have been built by anyone."""
    monkeypatch.setattr(side.processes, "peer_uid", lambda sock: os.geteuid() + 1)  # type: ignore[attr-defined]
    door = listener.listen(listener.Address(f"unix:{folder}/socket", 0))
    try:
        if side is dialling:
            with pytest.raises(AuthenticationError):
                dialling.reach(door.address, None, monotonic() + 30)
            return
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(f"{folder}/socket")
            with pytest.raises(listener.TurnedAway) as caught:
                door.accept()
            assert str(os.geteuid() + 1) in caught.value.args[0]
            assert sock.recv(1) == b""
    finally:
        door.close()


# What is in the place


def test_socket_of_a_killed_server_is_taken_over(
    folder: Path, start_at: Callable[..., Handle]
) -> None:
    """Nobody listens there; clients are told so until the next one does."""
    first = start_at()
    first.kill()
    assert (folder / "socket").exists()
    with Client(first.address, token=TOKEN) as client:
        with pytest.raises(NotRunning):
            client.ping()
        start_at()
        assert client.ping() > 0


def test_socket_of_a_living_server_is_left_alone(start_at: Callable[..., Handle]) -> None:
    """The second one is refused, and told who is there."""
    first = start_at()
    for run in (Server(first.address).run, Server(first.address).run_background):
        with pytest.raises(StartupError, match=f"pid {first.pid}"):
            run()
    with Client(first.address, token=TOKEN) as client:
        assert client.ping() > 0


def test_socket_of_another_program_is_left_alone(folder: Path) -> None:
    """Also where its backlog is full, so that nobody can see whether it accepts."""
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as waiting:
        other.bind(f"{folder}/socket")
        other.listen(0)
        waiting.connect(f"{folder}/socket")
        for _ in range(2):
            with pytest.raises(StartupError, match="another program listens"):
                _bind(f"{folder}/socket")
        assert (folder / "socket").exists()


@pytest.mark.parametrize("what", ["file", "folder", "link", "link to nothing"])
def test_something_else_in_the_place_is_left_alone(folder: Path, what: str) -> None:
    """Only the socket of a dead server is removed."""
    path = folder / "socket"
    if what == "file":
        path.write_text("precious")
    elif what == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(f"{folder}/dead")
        path.symlink_to(folder / ("dead" if what == "link" else "nothing"))
    before = sorted(os.listdir(folder))
    with pytest.raises(StartupError, match=f"{path} exists and is not a socket"):
        _bind(str(path))
    assert sorted(os.listdir(folder)) == before


def test_one_of_many_that_start_at_once_gets_the_socket(
    folder: Path, start_at: Callable[..., Handle]
) -> None:
    """Over what a dead one left; the others are refused, and the one serves."""
    start_at().kill()

    def attempt(_: int) -> Handle | None:
        try:
            return start_at()
        except StartupError:
            return None

    with ThreadPoolExecutor(4) as pool:
        (handle,) = [each for each in pool.map(attempt, range(4)) if each is not None]
    with Client(handle.address, token=TOKEN) as client:
        assert client.ping() > 0


def test_place_is_looked_at_and_taken_under_one_lock(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that find a dead one's socket, the second must not remove that of the first."""
    import fcntl

    seen: list[bool] = []

    def watched(act: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*args: object) -> None:
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                seen.append(False)
            except BlockingIOError:
                seen.append(True)
            finally:
                os.close(descriptor)
            act(*args)

        return wrapped

    monkeypatch.setattr(listener.unix, "_take_over", watched(listener.unix._take_over))
    monkeypatch.setattr(listener.unix.os, "chmod", watched(os.chmod))
    _bind(f"{folder}/socket")
    assert seen == [True, True]


@pytest.mark.parametrize("length", [108, 4096])
def test_path_that_is_too_long_is_said(length: int) -> None:
    """On both sides, before anything is tried, with how long it may be."""
    path = "/" + "x" * (length - 1)
    for make in (Server, Client):
        with pytest.raises(ValueError, match=r"\d+ bytes"):
            make(f"unix:{path}")


# A full backlog


@pytest.fixture
def full(folder: Path) -> Iterator[socket.socket]:
    """A listener that nobody else can reach before it accepts."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(f"{folder}/socket")
        listener.listen(0)
        waiting.connect(f"{folder}/socket")
        yield listener


def test_full_backlog_is_tried_again_until_there_is_room(
    folder: Path, full: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a TCP connection waits by itself."""
    refused = threading.Semaphore(0)
    sleep = dialling.time.sleep

    def tried(seconds: float) -> None:
        refused.release()
        sleep(seconds)

    monkeypatch.setattr(dialling.time, "sleep", tried)

    def accept() -> None:
        for _ in range(3):
            assert refused.acquire(timeout=30)
        full.accept()[0].close()
        with full.accept()[0] as peer:
            peer.recv(100)

    thread = threading.Thread(target=accept)
    thread.start()
    with (
        Client(f"unix:{folder}/socket", token=TOKEN, connect_timeout=30.0) as client,
        pytest.raises(NotBgpy),
    ):
        client.ping()
    thread.join(30)


def test_full_backlog_that_stays_is_unreachable(folder: Path, full: socket.socket) -> None:
    """The error speaks of a socket, and not of machines and ports."""
    with (
        Client(f"unix:{folder}/socket", token=TOKEN, connect_timeout=0.1) as client,
        pytest.raises(Unreachable, match="backlog") as caught,
    ):
        client.ping()
    assert "port" not in str(caught.value)


# The end


@pytest.mark.parametrize("how", ["one signal", "two signals"])
def test_socket_is_removed_when_a_signal_ends_the_server(
    folder: Path, start_at: Callable[..., Handle], how: str
) -> None:
    """Also where the second one ends it in the middle of a task."""
    handle = start_at()
    with Client(handle.address, token=TOKEN) as client, Gate() as gate:
        client.initialize(*TASKS)
        if how == "two signals":
            client.execute({"run": gate.passing()})
            gate.wait()
            insist(handle.pid, lambda: not handle.is_alive())
        else:
            os.kill(handle.pid, signal.SIGINT)
        assert handle.wait(30)
    assert os.listdir(folder) == []


def test_socket_that_another_program_put_there_stays(
    folder: Path, start_at: Callable[..., Handle]
) -> None:
    """Who ends removes its own socket, and no other that has its name by now."""
    first = start_at()
    (folder / "socket").unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"{folder}/socket")
        os.kill(first.pid, signal.SIGTERM)
        assert first.wait(30)
        assert os.listdir(folder) == ["socket"]


def test_strangers_without_the_token_get_nothing_from_a_unix_socket(
    folder: Path, start_at: Callable[..., Handle]
) -> None:
    """It is the same protocol: garbage ends it at once, and silence when its time is over."""
    handle = start_at(limits=Limits(handshake_timeout=0.5))
    for sent in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b""):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(f"{folder}/socket")
            sock.settimeout(20)
            sock.sendall(sent)
            assert sock.recv(100) == b""
    wait_until(lambda: _log(handle).count("WARNING") == 3, "each has its line")
