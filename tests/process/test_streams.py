"""Which paths name another's open descriptor, and a log that is one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bgpy.errors import StartupError
from bgpy.process import streams

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such paths there")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="of /proc")


def test_descriptor_at_tells_descriptors_from_files(tmp_path: Path) -> None:
    """Also through links; a circle of them, and what isn't there, is no descriptor."""
    os.symlink("log", tmp_path / "link")
    os.symlink("circle", tmp_path / "circle")
    for path in (tmp_path / "log", tmp_path / "link", tmp_path / "circle", "/dev/null", "log"):
        assert streams.descriptor_at(str(path)) is None
        assert streams.for_another_process(str(path)) == str(path)
    os.symlink("/dev/stdout", tmp_path / "out")
    os.symlink("out", tmp_path / "again")
    for path in ("/dev/stdout", "/dev/fd/1", str(tmp_path / "out"), str(tmp_path / "again")):
        assert streams.descriptor_at(path) in (f"/proc/{os.getpid()}/fd/1", "/dev/fd/1")


@linux_only
def test_descriptor_at_knows_those_of_processes_that_are_gone() -> None:
    """A log stays what it is."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    assert streams.descriptor_at(f"/proc/{process.pid}/fd/1") == f"/proc/{process.pid}/fd/1"


def test_stream_that_no_other_process_can_open_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on systems without /proc."""
    monkeypatch.setattr(streams, "descriptor_at", lambda path: "/dev/fd/1")
    with pytest.raises(StartupError, match="/dev/stdout is a stream of this process"):
        streams.for_another_process("/dev/stdout")


START = """
from bgpy import Client, Limits, Server, respond

def init_task(): ...
def exec_task(client_socket, state, args):
    print(900 * "x")
    respond(client_socket, None)
def exit_task(client_socket, state, args): print("the end")

server = Server("127.0.0.1", 0, log_file="/dev/stdout", limits=Limits(log_size=1000))
with server.run_background() as handle:
    client = Client(handle.address)
    client.initialize(init_task, exec_task, exit_task)
    for _ in range(3):
        client.call({})
    handle.kill() if KILL else client.terminate()
    handle.wait(20)
    if KILL:
        try: client.call({})
        except ConnectionError: print("gone")
"""


@linux_only
@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_log_may_be_the_standard_output_of_the_starter(kind: str, tmp_path: Path) -> None:
    """It is never rotated: the file is the starter's. Who finds the server gone doesn't wait."""
    path, kill = tmp_path / "out", kind == "pipe"
    command = [sys.executable, "-c", f"KILL = {kill}\n{START}"]
    if kind == "file":
        with open(path, "ab") as out:
            subprocess.run(command, stdout=out, check=True, timeout=60)
        text = path.read_text()
    else:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60)
        text = done.stdout.decode()
    assert text.count(900 * "x") == 3
    assert ("gone" if kill else "the end") in text
    assert {*os.listdir(tmp_path)} <= {"out", "bgpy-home"}
    assert not os.path.exists("/dev/stdout.1")
