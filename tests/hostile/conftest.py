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


@pytest.fixture
def served(serve: Callable[..., Served]) -> Iterator[Served]:
    """A server that still serves when the test is over, and is as it was before."""
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
