"""Truths of ``bgpy server``, ``bgpy terminate`` and ``bgpy version``, and of their exit codes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import bgpy as bgpy_package
from bgpy import Client, Handle, __version__, respond, token_create
from bgpy.cli.commands import program
from bgpy.errors import AuthenticationError
from bgpy.state import folders
from tests.support.command import COMMAND
from tests.support.gate import Gate
from tests.support.peers import wait_until
from tests.support.tasks.counting import TASKS

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Serve = Callable[..., "subprocess.Popen[str]"]
Start = Callable[..., tuple[Handle, Client]]

INIT_FILE = """
from bgpy import respond
def init_task(): return 'of the file'
def exec_task(client_socket, state, args): respond(client_socket, state)
def exit_task(client_socket, state, args): print('exit_task ran')
"""


def _assert_fails(done: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    """It ended with `code` and one line on stderr that says all of `said`."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert all(each in done.stderr for each in said), done.stderr


def _assert_raises(done: subprocess.CompletedProcess[str], *said: str, frame: str) -> None:
    """It ended with 1, the user's traceback with a `frame`, and a last line with all of `said`."""
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    *shown, last = done.stderr.splitlines()
    assert all(each in last for each in said), done.stderr
    assert frame in "\n".join(shown), done.stderr
    assert str(Path(bgpy_package.__file__).parent) not in done.stderr


@contextmanager
def _answering(answer: bytes) -> Iterator[int]:
    """A port where something else than bgpy answers everyone, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                while True:
                    with listener.accept()[0] as sock:
                        sock.sendall(answer)
            except OSError:
                return  # the test is over

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_version_prints_name_and_version(bgpy: Run) -> None:
    """``bgpy X.Y.Z`` on stdout."""
    done = bgpy("version")
    assert (done.stdout, done.stderr, done.returncode) == (f"bgpy {__version__}\n", "", 0)


def test_console_script_is_the_same_program() -> None:
    """``bgpy`` and ``python -m bgpy`` are one."""
    script = Path(sysconfig.get_path("scripts")) / (
        "bgpy.exe" if sys.platform == "win32" else "bgpy"
    )
    done = subprocess.run([script, "version"], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == (f"bgpy {__version__}\n", 0)


def test_server_serves_until_terminated(bgpy: Run, serve: Serve, free_port: int) -> None:
    """A client of the account finds it; both commands end with 0."""
    process = serve(free_port)
    with Client("127.0.0.1", free_port) as client:
        client.initialize(
            lambda: "made here", lambda c, s, a: respond(c, s), lambda c, s, a: print("bye")
        )
        assert client.call({}) == "made here"
    done = bgpy("terminate", "127.0.0.1", free_port)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    output, _ = process.communicate()
    assert (output, process.returncode) == ("bye\n", 0)


@pytest.mark.parametrize("option", ["-i", "--init-file"])
def test_server_takes_an_init_file(
    serve: Serve, free_port: int, tmp_path: Path, option: str
) -> None:
    """It is initialised when it listens."""
    (tmp_path / "cli_tasks.py").write_text(INIT_FILE)
    serve(free_port, option, tmp_path / "cli_tasks.py")
    with Client("127.0.0.1", free_port) as client:
        assert client.call({}) == "of the file"


def test_server_logs_to_stderr_and_into_a_file(
    bgpy: Run, serve: Serve, free_port: int, tmp_path: Path
) -> None:
    """``-f`` names a file that is written beside stderr."""
    process = serve(free_port, "-f", tmp_path / "log", "-l", "INFO")
    assert bgpy("terminate", "localhost", free_port).returncode == 0
    _, errors = process.communicate()
    assert "asked the server to end" in errors
    logged = (tmp_path / "log").read_text()
    assert "listening" in logged
    assert "asked the server to end" in logged


def test_server_is_silent_at_level_error(free_port: int, bgpy: Run, tmp_path: Path) -> None:
    """``-l`` decides what is told; lower case is understood."""
    command = [sys.executable, "-m", "bgpy", "server", "127.0.0.1", str(free_port), "-l", "error"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while bgpy("terminate", "127.0.0.1", free_port).returncode == 3:
        assert process.poll() is None
    assert process.communicate() == ("", "")
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_server_runs_exit_task_when_interrupted(
    serve: Serve, free_port: int, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C ends it in order."""
    (tmp_path / "cli_tasks.py").write_text(INIT_FILE)
    process = serve(free_port, "-i", tmp_path / "cli_tasks.py")
    process.send_signal(number)
    output, _ = process.communicate()
    assert (output, process.returncode) == ("exit_task ran\n", 0)


@pytest.mark.skipif(sys.platform == "win32", reason="files that are open can't be removed")
@pytest.mark.parametrize("foreground", [True, False])
def test_server_is_found_again_when_its_folder_was_removed_while_nobody_was_connected(
    serve: Serve, start: Start, free_port: int, foreground: bool
) -> None:
    """The first client fails, since there is no token; then the folder is there again."""
    if foreground:
        serve(free_port)
    else:
        start(port=free_port)
    shutil.rmtree(folders.folder("127.0.0.1", free_port).path)

    def is_found() -> bool:
        with suppress(AuthenticationError), Client("127.0.0.1", free_port) as client:
            return client.ping() >= 0
        return False

    wait_until(is_found, "a new client finds the token")


def test_token_can_be_given_in_the_environment(
    bgpy: Run, serve: Serve, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`BGPY_TOKEN` serves both commands; without it the server refuses: 5."""
    monkeypatch.setenv("BGPY_TOKEN", token_create())
    serve(free_port)
    monkeypatch.delenv("BGPY_TOKEN")
    _assert_fails(bgpy("terminate", "127.0.0.1", free_port), 5, "token")
    monkeypatch.setenv("BGPY_TOKEN", token_create())
    _assert_fails(bgpy("terminate", "127.0.0.1", free_port), 5, "token")


def test_server_keeps_the_token_of_its_environment_from_what_its_tasks_start(
    serve: Serve, free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a background server does."""
    (tmp_path / "environment_tasks.py").write_text(
        "import os\nfrom bgpy import respond\n"
        "def init_task(): return {}\n"
        "def exec_task(client_socket, state, args): respond(client_socket, dict(os.environ))\n"
        "def exit_task(client_socket, state, args): pass\n"
    )
    token = token_create()
    monkeypatch.setenv("BGPY_TOKEN", token)
    serve(free_port, "-i", tmp_path / "environment_tasks.py")
    with Client("127.0.0.1", free_port, token) as client:
        assert token not in client.call({}).values()
        client.terminate()


def test_terminate_ends_a_background_server(bgpy: Run, start: Start) -> None:
    """However it was started."""
    handle, _ = start()
    assert bgpy("terminate", handle.host, handle.port).returncode == 0
    assert not handle.is_alive()


def test_failing_exit_task_is_exit_code_1(bgpy: Run, start: Start) -> None:
    """What it raised is told, and the server has ended."""
    handle, client = start()

    def fail(client_socket: object, state: object, args: object) -> None:
        raise LookupError("no table")

    client.initialize(lambda: None, lambda c, s, a: None, fail)
    done = bgpy("terminate", handle.host, handle.port)
    said = "LookupError('no table'); the server has ended all the same"
    _assert_raises(done, said, frame="in fail\n")
    assert not handle.is_alive()
    assert handle.log_file is not None
    assert "in fail" in Path(handle.log_file).read_text()  # the traceback


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT of POSIX")
def test_terminate_says_what_it_waits_for_and_that_the_server_ends_all_the_same(
    start: Start,
) -> None:
    """Behind a task that runs and runs; Ctrl-C ends the command only."""
    handle, client = start()
    client.initialize(*TASKS)
    with Gate() as gate:
        running = client.submit({"run": gate.passing("done")})
        gate.wait()
        with subprocess.Popen(
            [*COMMAND, "terminate", handle.address], stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            assert "it ends when its running task" in process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert f"the server at {handle.address} ends all the same" in process.stderr.read()
        assert process.returncode == 130
        gate.open()
        assert running.result(30) == "done"
    assert handle.wait(30)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT of POSIX")
def test_terminate_promises_no_end_before_the_server_has_answered() -> None:
    """Who is interrupted then has asked nothing of it: a stopped process, a wrong port."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        with subprocess.Popen(
            [*COMMAND, "terminate", place], stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == f"bgpy: waiting for an answer from {place}\n"
            process.send_signal(signal.SIGINT)
            assert process.stderr.read() == "bgpy: interrupted\n"
        assert process.returncode == 130


@pytest.mark.skipif(sys.platform == "win32", reason="SIGPIPE of POSIX")
@pytest.mark.parametrize("words", ["doctor 127.0.0.1:9", "token show 127.0.0.1:9", "--help"])
def test_command_whose_reader_has_gone_ends_as_others_do(words: str, start: Start) -> None:
    """Of SIGPIPE, and without a word: ``bgpy doctor ADDRESS | head -1``."""
    handle, _ = start()
    reader, writer = os.pipe()
    os.close(reader)
    command = [*COMMAND, *words.replace("127.0.0.1:9", handle.address).split()]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


def test_server_that_can_not_start_is_exit_code_1(bgpy: Run, start: Start, tmp_path: Path) -> None:
    """A taken port, a host of another machine, and init files of every bad kind."""
    handle, _ = start()
    _assert_fails(bgpy("server", "127.0.0.1", handle.port), 1, str(handle.port))
    _assert_fails(bgpy("server", "192.0.2.1", 0), 1, "192.0.2.1")
    missing = tmp_path / "missing.py"
    _assert_fails(bgpy("server", "127.0.0.1", 0, "-i", missing), 1, "missing.py")
    path = tmp_path / "cli_tasks.py"
    path.write_text("def init_task(): pass\n")
    _assert_fails(bgpy("server", "127.0.0.1", 0, "-i", path), 1, "lacks exec_task, exit_task")
    path.write_text("raise LookupError('no\\ntable')\n")
    done = bgpy("server", "127.0.0.1", 0, "-i", path)
    place = f'File "{path}", line 1, in <module>\n    raise LookupError('
    _assert_raises(done, "LookupError: no table", f"{path}, line 1", frame=place)
    path.write_text("import json\ndef f(t):\n    return json.loads(t)\nVALUE = f('{')\n")
    done = bgpy("server", "127.0.0.1", 0, "-i", path)
    place = "line 4, in <module>\n    VALUE = f('{')"
    _assert_raises(done, f"{path}, line 3, in f", frame=place)
    path.write_text("def f(:\n")
    done = bgpy("server", "127.0.0.1", 0, "-i", path)
    _assert_raises(done, "SyntaxError", f"{path}, line 1", frame="    def f(:")
    path.write_text("def init_task(): pass\ndef exec_task(c, s): pass\nexit_task = exec_task\n")
    done = bgpy("server", "127.0.0.1", 0, "-i", path)
    _assert_fails(done, 1, "exec_task must take three parameters", f"does not ({path})")
    path.write_text("raise SystemExit(0)\n")
    done = bgpy("server", "127.0.0.1", 0, "-i", path)
    _assert_raises(done, "SystemExit", frame="raise SystemExit(0)")


@pytest.mark.parametrize(
    "args",
    [
        ("server", "127.0.0.1"),
        ("terminate", "127.0.0.1"),
        ("server", "127.0.0.1", "port"),
        ("server", "127.0.0.1", "65536"),
        ("terminate", "127.0.0.1", "1", "-l", "LOUD"),
        ("terminate", "127.0.0.1", "1", "--no-such-option"),
        ("no-such-command",),
    ],
)
def test_wrong_usage_is_exit_code_2(bgpy: Run, args: tuple[str, ...]) -> None:
    """Said on stderr, with nothing on stdout."""
    done = bgpy(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr


@pytest.mark.parametrize(
    ("args", "way_out"),
    [
        (("stop", "127.0.0.1:1"), "'bgpy terminate ADDRESS'"),
        (("start",), "'bgpy server ADDRESS'"),
        (("ps",), "has a record.json with its host and port"),
        (("server", "-d"), "run_background()"),
        (("server", "127.0.0.1:1", "--background"), "run_background()"),
        (("server", "127.0.0.1", "--port", "4"), "127.0.0.1:24321"),
        (("status", "127.0.0.1:1"), "'bgpy doctor ADDRESS'"),
        (("terminate", "24321"), "write 127.0.0.1:24321"),
        (("server", "tasks.py"), "'bgpy server [ADDRESS] -i tasks.py'"),
        (("server", "tasks.py", "5"), "'bgpy server [ADDRESS] -i tasks.py'"),
        (("help",), "'bgpy --help'"),
        (("call", "127.0.0.1:1"), "Client(ADDRESS).call"),
        (("token", "add", "box:1"), "'bgpy add ADDRESS'"),
        (("token", "new"), "token_create()"),
        (("add", "--token", "x"), "read from standard input"),
        (("terminate", "--force", "127.0.0.1:1"), "'bgpy doctor ADDRESS' tells the process"),
        (("terminate", "--timeout", "5"), "Ctrl-C stops waiting"),
        (("server", "--verbose"), "-l DEBUG"),
    ],
)
def test_wrong_usage_names_the_way_out(args: tuple[str, ...], way_out: str) -> None:
    """What does it instead, in words that can be entered."""
    done = CliRunner().invoke(program, args)
    assert done.exit_code == 2
    assert way_out in done.stderr


def test_list_of_servers_is_where_their_folders_are() -> None:
    """The path itself: the documentation isn't installed. So is that of tokens."""
    assert folders.below_machine("servers") in CliRunner().invoke(program, ["list"]).stderr
    for words in (["token", "list"], ["token", "rm"], ["forget", "box:1"], ["tokens"]):
        done = CliRunner().invoke(program, words)
        assert (done.exit_code, folders.below_machine("tokens") in done.stderr) == (2, True)


def test_nothing_there_is_exit_code_3(bgpy: Run, free_port: int) -> None:
    """And the address is named."""
    _assert_fails(bgpy("terminate", "127.0.0.1", free_port), 3, f"127.0.0.1:{free_port}")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 200])
def test_something_else_there_is_exit_code_4(bgpy: Run, answer: bytes) -> None:
    """A port where another program answers."""
    with _answering(answer) as port:
        _assert_fails(bgpy("terminate", "127.0.0.1", port), 4, "bgpy server")


def test_unreachable_host_is_exit_code_4(bgpy: Run) -> None:
    """A host that doesn't exist."""
    _assert_fails(bgpy("terminate", "no-such-host.invalid", 54321), 4, "no-such-host.invalid")


def test_help_tells_the_exit_codes(bgpy: Run) -> None:
    """``bgpy --help`` and no argument at all show the commands."""
    done = bgpy("--help")
    assert done.returncode == 0
    for word in ("server", "terminate", "version", "Exit codes"):
        assert word in done.stdout


def _commands(command: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    """The words of a command and of all below it."""
    yield path
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _commands(below, *path, name)


@pytest.mark.parametrize(
    "words", [pytest.param(words, id=" ".join(words)) for words in _commands(program)]
)
def test_help_is_whole_at_80_columns(words: tuple[str, ...]) -> None:
    """No line is cut, and none is too long."""
    done = CliRunner().invoke(program, [*words, "--help"], terminal_width=80)
    assert done.exit_code == 0
    cut = [line for line in done.output.splitlines() if line.endswith("...") or len(line) > 80]
    assert [line for line in cut if not line.startswith("Usage:")] == []
