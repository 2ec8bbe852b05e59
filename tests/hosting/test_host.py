"""What a server that can't be hosted here says, and as what."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgpy.config import Options
from bgpy.errors import StartupError
from bgpy.hosting.host import Host
from bgpy.state import records

TOKEN = "t" * 40


@pytest.fixture
def hosted() -> Iterator[Host]:
    """A host whose port and folder are taken, and which doesn't serve."""
    host = Host(Options(port=0), TOKEN)
    yield host
    host.close()


@pytest.mark.parametrize(
    ("given", "token", "api", "cli"),
    [
        ({"certfile": "c.pem"}, TOKEN, "give tls=True as well", "give --tls as well"),
        ({"host": "0.0.0.0"}, "short", "made by token_create()", "unset BGPY_TOKEN"),
    ],
)
def test_host_advises_in_the_words_of_either_interface(
    given: dict[str, Any], token: str, api: str, cli: str
) -> None:
    """What to do is the same; what it is called isn't."""
    with pytest.raises(StartupError) as caught:
        Host(Options(**{"port": 0, **given}), token)
    assert caught.value.advice is not None
    assert api in caught.value.advice.api
    assert cli in caught.value.advice.cli
    assert caught.value.address is not None
    assert str(caught.value) == f"{caught.value.problem}: {caught.value.advice.api}"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")
def test_host_speaks_no_tls_over_a_unix_socket(tmp_path: Path) -> None:
    """It says so, and leaves no socket behind."""
    path = tmp_path / "s"
    with pytest.raises(StartupError, match="speaks no TLS") as caught:
        Host(Options(host=f"unix:{path}", port=0, tls=True), TOKEN)
    assert caught.value.text("cli").endswith("leave --tls out")
    assert not path.exists()


def test_host_names_the_server_that_has_its_port(hosted: Host) -> None:
    """With its process, and what ends it in either interface."""
    host, port = hosted.address
    record = records.Record.of_this_process(hosted.address, b"", "1", "/its/log")
    hosted.claim.write(record, None)
    with pytest.raises(StartupError, match=r"already running at") as caught:
        Host(Options(host=host, port=port), TOKEN)
    error = caught.value
    assert (error.address, error.pid) == (f"{host}:{port}", os.getpid())
    assert error.log_file == "/its/log"
    assert error.advice is not None
    assert "with a Client" in error.advice.api
    assert f"bgpy terminate {host}:{port}" in error.advice.cli


def test_host_gives_port_and_folder_back_when_it_is_closed(hosted: Host) -> None:
    """The next one can have both at once."""
    host, port = hosted.address
    hosted.close()
    Host(Options(host=host, port=port), TOKEN).close()
