"""Tests of the streams that drop what can't be written: no task is stopped by what it prints."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest

from bgpy import Client, Server
from bgpy.process.output import DroppingFile
from tests.support.command import COMMAND
from tests.support.fixtures import free_port
from tests.support.gate import Gate
from tests.support.terminal import Terminal

__all__ = ["free_port"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="terminals and pipes of POSIX")

INIT_FILE = """
import logging, sys
from pathlib import Path
from bgpy import respond
from tests.support.gate import pass_gate

def save(file):
    print("about to save", file)
    print("about to save", file, file=sys.stderr, flush=True)
    sys.stdout.buffer.write(b"bytes as well")
    logging.getLogger("mine").warning("about to save")
    Path(file).write_text("saved")

def init_task():
    return sys.argv

def exec_task(client_socket, state, args):
    if args["gate"]:
        pass_gate(args["gate"])
    save(args["file"])
    respond(client_socket, "saved")

def exit_task(client_socket, state, args):
    save(Path(__file__).with_name("exit"))
"""


@pytest.fixture
def init_file(tmp_path: Path) -> Path:
    """Tasks that print, and then save."""
    path = tmp_path / "saving_tasks.py"
    path.write_text(INIT_FILE)
    return path


def test_tasks_save_when_their_terminal_is_closed(init_file: Path, free_port: int) -> None:
    """The running task finishes and is answered, exit_task runs, and the server ends in order."""
    terminal = Terminal("server", "127.0.0.1", free_port, "-i", init_file)
    terminal.wait_for("listening on")
    with Gate() as gate, Client("127.0.0.1", free_port) as client:
        answer = client.submit({"gate": gate.place, "file": str(init_file.with_name("exec"))})
        gate.wait()
        terminal.hang_up()
        gate.open()
        assert answer.result() == "saved"
        assert terminal.process.wait() == 0
    assert init_file.with_name("exec").read_text() == "saved"
    assert init_file.with_name("exit").read_text() == "saved"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_tasks_save_when_nobody_reads_what_they_print(
    init_file: Path, free_port: int, monkeypatch: pytest.MonkeyPatch, unbuffered: str
) -> None:
    """As behind ``| head -1``, and behind a ``| tee`` that Ctrl-C has ended."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    process = subprocess.Popen(
        [*COMMAND, "server", "127.0.0.1", str(free_port), "-i", str(init_file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    assert b"listening on" in process.stdout.readline()
    process.stdout.close()
    with Client("127.0.0.1", free_port) as client:
        file = init_file.with_name("exec")
        assert client.call({"gate": None, "file": str(file)}) == "saved"
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0
    assert init_file.with_name("exit").read_text() == "saved"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no disk is always full here")
def test_tasks_save_when_the_disk_of_their_log_is_full(init_file: Path) -> None:
    """What they print is lost, and no more."""
    handle = Server("127.0.0.1", 0, log_file="/dev/full", init_file=init_file).run_background()
    try:
        with Client(handle.address) as client:
            file = init_file.with_name("exec")
            assert client.call({"gate": None, "file": str(file)}) == "saved"
            client.terminate()
    finally:
        handle.kill()
    assert init_file.with_name("exit").read_text() == "saved"


def test_output_keeps_what_was_written_before_the_disk_was_full(tmp_path: Path) -> None:
    """The rest is lost; the stream takes the next text as if nothing had happened."""
    text = (
        "import resource, sys\n"
        "from bgpy.process.output import keep_from_stopping_tasks\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))\n"
        "keep_from_stopping_tasks()\n"
        "print('123', '456', flush=True)\n"
        "assert sys.stdout.buffer.write(memoryview(b'1234').cast('H')) == 4\n"
        "sys.stdout.seek(2)\n"
        "sys.__stdout__.write('ab')\n"
    )
    with open(tmp_path / "out", "wb") as out:
        subprocess.run([sys.executable, "-c", text], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "12ab"


def test_output_writes_the_rest_when_a_signal_cuts_it_short() -> None:
    """A large text is whole, though the handler of a signal ran amid it."""
    reading, writing = os.pipe()
    received: list[bytes] = []

    def read() -> None:
        while chunk := os.read(reading, 65536):
            received.append(chunk)

    reader = threading.Thread(target=read)
    before = signal.signal(signal.SIGALRM, lambda number, frame: reader.start())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)  # the pipe is full then, or the write begins
        assert DroppingFile(writing).write(bytes(10**6)) == 10**6
    finally:
        signal.signal(signal.SIGALRM, before)
        os.close(writing)
    reader.join()
    os.close(reading)
    assert sum(map(len, received)) == 10**6


def test_output_lets_pass_what_a_signal_handler_raises() -> None:
    """A watchdog's TimeoutError is no refusal of the system's."""
    reading, writing = os.pipe()

    def strike(number: int, frame: FrameType | None) -> None:
        raise TimeoutError("of a watchdog")

    before = signal.signal(signal.SIGALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(TimeoutError, match="of a watchdog"):
            DroppingFile(writing).write(bytes(10**6))
    finally:
        signal.signal(signal.SIGALRM, before)
        os.close(writing)
        os.close(reading)
