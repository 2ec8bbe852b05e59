"""What every test has: a state folder of its own, and no server left behind."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import settings

from bgpy import Client, Handle, Server
from bgpy.calling.blocking import sender, sent
from tests.support import certificates
from tests.support.order import place
from tests.support.surroundings import changes, surroundings

# How long an example takes is nothing that a test may fail for.
settings.register_profile("suite", deadline=None)
settings.register_profile("thorough", deadline=None, max_examples=3000)  # `make properties`
settings.load_profile("suite")

certificates.lend()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest begin first."""
    items.sort(key=lambda item: place(item.nodeid))


@pytest.fixture(scope="module", autouse=True)
def file_leaves_nothing() -> Iterator[None]:
    """The fixtures that a file's tests share leave the process as they found it."""
    yield from _left_as_found()


@pytest.fixture
def leaves_nothing() -> Iterator[None]:
    """A test leaves the process as it found it, for the next one that runs in it."""
    yield from _left_as_found()


def _left_as_found() -> Iterator[None]:
    before = surroundings()
    with _client_log():
        yield
    changed = changes(before, surroundings())
    assert not changed, "it left behind: " + "; ".join(changed)


@contextmanager
def _client_log() -> Iterator[None]:
    """The logger whose level each `Client` sets, and which writes to its `log_file` from then on:
    what is meant for a program, which sets it once, is undone for the next test."""
    log = logging.getLogger("bgpy.client")
    level, handlers = log.level, list(log.handlers)
    yield
    log.setLevel(level)
    for handler in log.handlers[:]:
        if handler not in handlers:
            log.removeHandler(handler)
            handler.close()


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A temporary folder for each worker, with a short path.

    `tmp_path` is too long for a socket, so servers without an address have theirs in the
    system's temporary folder: if that were all workers' one, they would knock at each other's.
    """
    tmp_path_factory.getbasetemp()  # stays where it is
    with pytest.MonkeyPatch.context() as patch:
        if os.name == "posix":
            folder = tempfile.mkdtemp(prefix="bgpy-", dir="/tmp")
            os.chmod(folder, 0o711)  # other users come through, as through the system's own
            patch.setenv("TMPDIR", folder)
            patch.setattr(tempfile, "tempdir", None)
        yield
    if os.name == "posix":
        shutil.rmtree(folder, ignore_errors=True)


# What a user sets for programs in general, by which they print otherwise than tests expect of them.
TASTES = ("PYTEST_ADDOPTS", "FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS", "PYTHON_COLORS")


@pytest.fixture(scope="session", autouse=True)
def no_tastes() -> Iterator[None]:
    """What tests start isn't under the settings that the user has for this run of them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in TASTES:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(autouse=True)
def bgpy_home(
    leaves_nothing: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """BGPY_HOME in a temporary folder; a server that still runs there afterwards is an error."""
    # Beside it where something is put into it before the test.
    home = tmp_path / "bgpy-home" if certificates.HERE else tmp_path.with_name(f"{tmp_path.name}-h")
    monkeypatch.setenv("BGPY_HOME", str(home))
    monkeypatch.delenv("BGPY_TOKEN", raising=False)
    certificates.lend_to(home)
    yield home
    if not home.exists():
        return  # no server was ever started; looking at all processes takes its time
    found = [process for process in psutil.process_iter() if _runs_in(process, home)]
    _, left = psutil.wait_procs(found, timeout=10.0)  # a starter ends just after its server
    for process in left:
        process.kill()
    assert not left, f"the test left processes behind: {left}"


def _runs_in(process: psutil.Process, home: Path) -> bool:
    if process.pid == psutil.Process().pid:
        return False
    try:
        return process.environ().get("BGPY_HOME") == str(home)
    except psutil.Error:
        return False


@pytest.fixture
def asks_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients wait longer for a server to say how far a call came whose time is over."""
    for module in (sender, sent):
        monkeypatch.setattr(module, "ASK", 20.0)


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[Handle, Client]]]:
    """Start a background server on a free port; gives its handle and a client.

    Takes the keyword arguments of `Server`. What still runs at the end is killed.
    """
    started: list[tuple[Handle, Client]] = []

    def start(**options: Any) -> tuple[Handle, Client]:
        server = Server("127.0.0.1", options.pop("port", 0), **options)
        handle = server.run_background()
        client = Client("127.0.0.1", handle.port, server.token)
        started.append((handle, client))
        return handle, client

    yield start
    for handle, client in started:
        client.close()
        if "COVERAGE_PROCESS_CONFIG" in os.environ:
            handle.stop(10.0)  # what is killed can't tell what it ran
        handle.kill()
