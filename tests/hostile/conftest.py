"""A server that is attacked, and that must serve a stranger's call afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgpy import Client, Handle, Limits, Server
from tests.support.aftermath import aftermath
from tests.support.served import TOKEN, Served
from tests.support.tasks import attacked as tasks


@pytest.fixture
def serve(
    start: Callable[..., tuple[Handle, Client]],
) -> Callable[..., Served]:
    """Start a server with the tasks of `attacked`; takes options of `Limits`."""

    def serve(**limits: Any) -> Served:
        handle, client = start(token=TOKEN, limits=Limits(**limits))
        client.initialize(tasks.init_task, tasks.exec_task, tasks.exit_task)
        return Served(handle, client)

    return serve


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The server that the tests of a file attack one after another; see `served`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BGPY_HOME", str(tmp_path_factory.mktemp("home")))
        handle = Server("127.0.0.1", 0, TOKEN).run_background()
    try:
        with Client("127.0.0.1", handle.port, TOKEN) as client:
            client.initialize(tasks.init_task, tasks.exec_task, tasks.exit_task)
            yield Served(handle, client)
    finally:
        handle.kill()


@pytest.fixture
def served(shared: Served) -> Iterator[Served]:
    """A server that still serves when the test is over, and is as it was before.

    Each test begins where another one has left it: what must not be so asks for `alone`.
    """
    shared.begin()
    with aftermath(shared.handle, TOKEN):
        yield shared
    shared.check()


@pytest.fixture
def alone(serve: Callable[..., Served]) -> Iterator[Served]:
    """The same, of a server that no other test has seen."""
    server = serve()
    with aftermath(server.handle, TOKEN):
        yield server
    server.check()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of this user's with a short path."""
    with tempfile.TemporaryDirectory(prefix="bgpy-") as folder:
        yield Path(os.path.realpath(folder))


@pytest.fixture
def start_at(folder: Path) -> Iterator[Callable[..., Handle]]:
    """Start a server at ``socket`` in `folder`, or at another address."""
    started: list[Handle] = []

    def start(address: str | None = None, **options: object) -> Handle:
        where = f"unix:{folder}/socket" if address is None else address
        started.append(Server(where, None, TOKEN, **options).run_background())  # type: ignore[arg-type]
        return started[-1]

    yield start
    for handle in started:
        handle.kill()
