"""Truths of the token: the readme's example with and without, and who is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil
import pytest

from bgpy import AuthenticationError, Client, Handle, Server, token_create
from bgpy.example.tasks import exec_task, exit_task, init_task

Start = Callable[..., tuple[Handle, Client]]


@pytest.mark.parametrize("token", [None, "short", token_create()], ids=["none", "short", "long"])
def test_readme_example_runs(token: str | None, free_port: int) -> None:
    """The example of 0.3.1's readme, with a token, with a short one, and without."""
    server = Server(host="127.0.0.1", port=free_port, token=token)
    server.run_background()
    client = Client(host="127.0.0.1", port=free_port, token=token)
    response: Any = client.initialize(init_task, exec_task, exit_task)
    assert response == {"message": "Initialization successful."}
    response = client.execute({"command": "increase", "value_change": 10})
    assert response == {"message": "Received 'EXEC'"}
    response = client.execute({"command": "decrease", "value_change": 100})
    assert response == {"message": "Received 'EXEC'"}
    response = client.terminate(await_response=True)
    assert response == {"request_count": 3, "value": 910, "status": "Exited."}


@pytest.mark.parametrize(
    ("of_server", "of_client"),
    [("localhost", "127.0.0.1"), ("127.0.0.1", "localhost"), ("localhost", "localhost")],
)
def test_kept_token_is_found_under_either_name(of_server: str, of_client: str) -> None:
    """`localhost` and `127.0.0.1` are one place."""
    handle = Server(of_server, 0).run_background()
    try:
        with Client(of_client, handle.port) as client:
            assert client.ping() > 0
    finally:
        handle.kill()


def test_token_of_the_environment_is_for_server_and_client(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`BGPY_TOKEN` stands in for the argument on both sides, and isn't kept."""
    monkeypatch.setenv("BGPY_TOKEN", token_create())
    handle, _ = start()
    with Client(handle.host, handle.port) as client:
        assert client.ping() > 0
    monkeypatch.delenv("BGPY_TOKEN")
    with Client(handle.host, handle.port) as client, pytest.raises(AuthenticationError):
        client.ping()


@pytest.mark.parametrize("token", ["wrong", token_create()], ids=["short", "long"])
def test_client_with_another_token_is_refused(start: Start, token: str) -> None:
    """And who holds the right one is served on."""
    handle, client = start(token=token_create())
    with Client(handle.host, handle.port, token) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    assert client.ping() > 0


def test_client_without_a_token_is_refused_when_the_server_was_given_one(start: Start) -> None:
    """A token that was given is not kept: who doesn't have it can't find it."""
    handle, client = start(token=token_create())
    with Client(handle.host, handle.port) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    assert client.ping() > 0


def test_token_is_neither_on_the_command_line_nor_in_the_environment(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sees it in a list of processes, a child's environment, or a `repr`."""
    token = token_create()
    monkeypatch.setenv("BGPY_TOKEN", token)
    handle, client = start()
    process = psutil.Process(handle.pid)
    assert token not in " ".join(process.cmdline())
    assert token not in process.environ().values()
    assert handle.log_file is not None
    with open(handle.log_file) as log:
        seen = [log.read(), repr(handle), repr(client), repr(Server("127.0.0.1", 0, token))]
    assert not any(token in each for each in seen)
