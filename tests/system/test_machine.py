"""The name of this machine, which stays when its host name changes."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from bgpy.system import machine

IDENTIFIER = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept of what was found before."""
    monkeypatch.setattr(machine, "_name", "")


def test_machine_keeps_its_name_when_its_host_name_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with the next network of a laptop."""
    monkeypatch.setattr(machine, "_identifier", lambda: IDENTIFIER)
    before = machine.machine()
    monkeypatch.setattr(machine, "_name", "")
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    assert machine.machine() == before == IDENTIFIER[-machine.DIGITS :]


@pytest.mark.parametrize("identifier", ["", "uninitialized\n", "0" * 32, "x" * 32, IDENTIFIER[1:]])
def test_machine_is_its_host_name_when_it_has_no_identifier(
    monkeypatch: pytest.MonkeyPatch, identifier: str
) -> None:
    """Images of containers have an empty one, or a word that says so."""
    monkeypatch.setattr(machine, "_identifier", lambda: identifier)
    assert machine.machine() == machine.host_name() == socket.gethostname()


def test_machine_is_its_host_name_when_the_identifier_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the system says of it."""

    def hidden() -> str:
        raise PermissionError

    monkeypatch.setattr(machine, "_identifier", hidden)
    assert machine.machine() == machine.host_name()


@pytest.mark.parametrize(
    "text", [IDENTIFIER, f"{IDENTIFIER}\n", "01234567-89AB-CDEF-" + IDENTIFIER[16:]]
)
def test_machine_understands_identifiers_however_they_are_written(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """In a file with its line's end, as Windows and macOS write them."""
    monkeypatch.setattr(machine, "_identifier", lambda: text)
    assert machine.machine() == IDENTIFIER[-machine.DIGITS :]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="files of Linux")
def test_machine_reads_the_first_identifier_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """systemd's, else that of D-Bus."""
    second = tmp_path / "second"
    second.write_text(IDENTIFIER)
    monkeypatch.setattr(machine, "_FILES", (str(tmp_path / "none"), str(second)))
    assert machine.machine() == IDENTIFIER[-machine.DIGITS :]
