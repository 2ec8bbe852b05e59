"""A place for the fake server's connection, so that tests wait for it and it for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.meeting import Meeting

HERE = str(Path(__file__).parents[1] / "support" / "on_path")


@pytest.fixture
def meeting() -> Iterator[Meeting]:
    meeting = Meeting()
    yield meeting
    meeting.close()


@pytest.fixture(autouse=True)
def _fake_server_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[[str], list[str]]:
    """Give the command that runs a text as a script which finds the fake server."""

    def command(text: str) -> list[str]:
        import sys

        script = tmp_path / "script.py"
        script.write_text(f"import sys\nsys.path.insert(0, {HERE!r})\n{text}")
        return [sys.executable, str(script)]

    return command
