"""The fixture `bgpy_server` for pytest: ``pytest_plugins = ["bgpy.testing.fixtures"]``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from bgpy.testing.running import Served, StartServer, running_server


@pytest.fixture
def bgpy_server(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StartServer]:
    """Start servers for a test; all of them end with it.

    The fixture is a function with the parameters of `bgpy.testing.running_server`, which returns a
    `Served`: ``client, handle = bgpy_server(init_task, exec_task, exit_task)``. During the
    test ``BGPY_HOME`` is a temporary folder, so that nothing of this account is found or left.
    """
    monkeypatch.setenv("BGPY_HOME", str(tmp_path_factory.mktemp("bgpy")))
    monkeypatch.delenv("BGPY_TOKEN", raising=False)
    with ExitStack() as servers:

        def start(*tasks: Any, **options: Any) -> Served:
            return servers.enter_context(running_server(*tasks, **options))

        yield start
