"""kill -9 of the server, its starter or its launcher, at every stage of a start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpy import Client, Server, address
from bgpy.state import folders, records
from tests.support.fixtures import free_port as free_port
from tests.support.peers import wait_until
from tests.support.stages import STAGES, stopped_at

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the starter forks the server")


@pytest.fixture
def port(free_port: int) -> Iterator[int]:
    """A port at whose address the next server starts at once, whatever happened there before."""
    yield free_port
    handle = Server("127.0.0.1", free_port).run_background()
    try:
        with Client("127.0.0.1", free_port, timeout=20.0) as client:
            assert client.ping() >= 0
        assert handle.stop(20.0)
    finally:
        handle.kill()
    left = {each.name for each in Path(folders.folder("127.0.0.1", free_port).path).iterdir()}
    assert left == {"ended.json", "guard", "lock", "log"}


@pytest.mark.parametrize("stage", STAGES)
def test_start_fails_and_says_why_when_the_server_is_killed(
    tmp_path: Path, port: int, stage: str
) -> None:
    """Whoever starts it learns that it was killed, and nothing of it is in the way."""
    with stopped_at(stage, tmp_path, port) as start:
        start.kill("server")
        code, printed = start.outcome()
        assert (code, start.all_gone()) == (3, True)
    assert "killed by signal 9 (SIGKILL)" in printed


@pytest.mark.parametrize("stage", list(STAGES)[::2])
def test_server_ends_when_its_launcher_is_killed_before_it_is_ready(
    tmp_path: Path, port: int, stage: str
) -> None:
    """It is ready or gone: a server that nobody knows of does not stay."""
    with stopped_at(stage, tmp_path, port) as start:
        start.kill("launcher")
        start.go_on()
        wait_until(start.all_gone, "the server and its starter have ended")
    assert records.find(address.parse("127.0.0.1", port)) is None


@pytest.mark.parametrize("stage", ["it imports bgpy", "it puts its record in place"])
def test_server_starts_when_only_its_starter_is_killed(
    tmp_path: Path, port: int, stage: str
) -> None:
    """The starter is only there to tell of a death: without it the start goes on."""
    with stopped_at(stage, tmp_path, port) as start:
        start.kill("starter")
        start.go_on()
        assert start.outcome() == (0, "")
        with Client("127.0.0.1", port, timeout=20.0) as client:
            client.terminate()


@pytest.mark.parametrize("stage", ["it imports bgpy", "it runs its init file"])
def test_start_fails_when_starter_and_server_are_killed(
    tmp_path: Path, port: int, stage: str
) -> None:
    """With nobody left to tell how it died, the end of the pipe tells that it did."""
    with stopped_at(stage, tmp_path, port) as start:
        start.kill("starter")
        start.kill("server")
        code, printed = start.outcome()
    assert code == 3
    assert "ended before it was ready" in printed
