"""0.3.1's import paths lead to what they led to."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import bgpy
from bgpy.core import environment, token
from bgpy.version import __version__


@pytest.mark.parametrize(
    ("module", "name", "home"),
    [
        ("bgpy", "Client", "bgpy.api.client"),
        ("bgpy", "Server", "bgpy.api.server"),
        ("bgpy", "respond", "bgpy.tasks.client_socket"),
        ("bgpy.client", "Client", "bgpy.api.client"),
        ("bgpy.server", "Server", "bgpy.api.server"),
        ("bgpy.server", "respond", "bgpy.tasks.client_socket"),
        ("bgpy.core.sockets", "ClientSocket", "bgpy.tasks.client_socket"),
        ("bgpy.core.message", "Message", "bgpy.tasks.compatibility"),
        ("bgpy.core.message", "MessageType", "bgpy.tasks.compatibility"),
    ],
)
def test_old_path_gives_the_same_object_when_imported(module: str, name: str, home: str) -> None:
    """A class has one identity, whichever path it is imported by."""
    assert getattr(import_module(module), name) is getattr(import_module(home), name)


@pytest.mark.parametrize(
    ("what", "names"),
    [
        (bgpy.Server, ["host", "port", "token", "log_level", "log_file", "init_file"]),
        (bgpy.Client, ["host", "port", "token", "log_level", "log_file"]),
        (bgpy.Client.initialize, ["self", "init_task", "exec_task", "exit_task"]),
        (bgpy.Client.execute, ["self", "exec_args", "await_response"]),
        (bgpy.Client.terminate, ["self", "exit_args", "await_response"]),
        (bgpy.respond, ["client_socket", "response", "error"]),
    ],
)
def test_signature_begins_as_it_was(what: object, names: list[str]) -> None:
    """By position and by name; what came later is given by name only."""
    parameters = inspect.signature(what).parameters.values()  # type: ignore[arg-type]
    given = [each.name for each in parameters if each.kind is not each.KEYWORD_ONLY]
    assert given == names


@pytest.mark.parametrize("by_name", [False, True])
def test_server_and_client_take_the_old_arguments(tmp_path: Path, by_name: bool) -> None:
    """Host and port apart, and all that came behind them."""
    token, logs = "x" * 32, [str(tmp_path / name) for name in ("server.log", "client.log")]
    (tmp_path / "old_tasks.py").write_text(
        "from bgpy import respond\ndef init_task(): return 'of the file'\n"
        "def exec_task(sock, state, args): respond(sock, state)\n"
        "def exit_task(sock, state, args): respond(sock, 'left')\n"
    )
    init_file = str(tmp_path / "old_tasks.py")
    if by_name:
        server = bgpy.Server(
            host="127.0.0.1",
            port=0,
            token=token,
            log_level="DEBUG",
            log_file=logs[0],
            init_file=init_file,
        )
        server.run_background()
        client = bgpy.Client(
            host="127.0.0.1", port=server.port, token=token, log_level="DEBUG", log_file=logs[1]
        )
    else:
        server = bgpy.Server("127.0.0.1", 0, token, "DEBUG", logs[0], init_file)
        server.run_background()
        client = bgpy.Client("127.0.0.1", server.port, token, "DEBUG", logs[1])
    assert (server.host, client.host, client.port) == ("127.0.0.1", "127.0.0.1", server.port)
    assert client.execute({}, True) == "of the file"
    assert client.terminate({}, True) == "left"
    assert "listening" in Path(logs[0]).read_text()


@pytest.mark.parametrize("use", ["bgpy.client.Client", "bgpy.server.respond"])
def test_old_module_is_there_when_only_the_package_is_imported(use: str) -> None:
    """``import bgpy`` alone gave access to ``bgpy.client`` and ``bgpy.server``."""
    subprocess.run([sys.executable, "-c", f"import bgpy; {use}"], check=True)


def test_environment_holds_the_old_values_when_imported() -> None:
    """The constants are those of 0.3.1."""
    assert (environment.HOST, environment.PORT) == ("127.0.0.1", 54321)
    assert (environment.STARTUP_TIME, environment.LOG_LEVEL) == (1, "INFO")
    assert environment.ENV_TOKEN == "BGPY_TOKEN"


def test_token_create_gives_as_many_characters_when_asked() -> None:
    """64 characters, or as many as are asked for, and others each time."""
    assert [len(bgpy.token_create()), len(bgpy.token_create(40))] == [64, 40]
    assert token.token_create() != token.token_create()


def test_token_is_kept_in_the_environment_when_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set is got, until it is removed."""
    # Noted by monkeypatch first, so that it is put back whatever happens below.
    monkeypatch.setenv("BGPY_TOKEN", "before")
    token.token_setenv("x" * 32)
    assert token.token_getenv() == "x" * 32
    token.token_delenv()
    assert token.token_getenv() is None


def test_main_prints_the_version_when_run_as_a_module() -> None:
    """``python -m bgpy`` is the command line."""
    done = subprocess.run(
        [sys.executable, "-m", "bgpy", "version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"bgpy {__version__}\n"
