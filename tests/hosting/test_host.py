"""What a server that can't be hosted here says, and as what."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bgpy import Client, Server
from bgpy.config import Options
from bgpy.errors import StartupError
from bgpy.hosting.host import Host
from bgpy.state import records
from tests.support.fixtures import free_port

__all__ = ["free_port"]

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
    with pytest.raises(StartupError, match="has no TLS") as caught:
        Host(Options(host=f"unix:{path}", port=0, tls=True), TOKEN)
    assert caught.value.text("cli").endswith("leave --tls out")
    assert not path.exists()


def test_host_goes_by_the_address_that_it_binds_when_a_name_changes_its_meaning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What others can reach is never taken for this machine's loopback."""
    meanings = iter(["192.0.2.1"])

    def look_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(meanings, "127.0.0.1"), port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(StartupError, match="other machines"):
        Host(Options(host="box", port=0, tls=False), TOKEN)


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


PAIRS = [
    ("0.0.0.0", "127.0.0.1"),
    ("0.0.0.0", "localhost"),
    ("0.0.0.0", socket.gethostname()),
    ("::", "127.0.0.1"),
    ("::", "::1"),
    ("::", "0.0.0.0"),
    ("127.0.0.1", "localhost"),
]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
@pytest.mark.skipif(sys.platform == "darwin", reason="both can have the port there")
@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize(("first", "second"), PAIRS + [(second, first) for first, second in PAIRS])
def test_host_names_the_server_that_has_its_port_under_another_host(
    first: str, second: str, runs: bool
) -> None:
    """Whether that one runs, or has but its port yet; nobody is sent after another program."""
    host = Host(Options(host=first, port=0), TOKEN)
    try:
        if runs:
            host.claim.write(records.Record.of_this_process(host.address, b"", "1"), None)
        with pytest.raises(StartupError) as caught:
            Host(Options(host=second, port=host.address.port), TOKEN)
    finally:
        host.close()
    assert "another program" not in str(caught.value)
    assert caught.value.address == str(host.address)
    assert ("is already running at" if runs else "is just starting") in str(caught.value)
    Host(Options(host=second, port=host.address.port), TOKEN).close()


@pytest.mark.skipif(sys.platform == "darwin", reason="both can have the port there")
def test_hosts_that_race_for_a_port_are_told_of_each_other(free_port: int) -> None:
    """Of several starters one gets it, and no other one hears of another program."""
    names = ["127.0.0.1", "0.0.0.0", "localhost", "127.0.0.1", "0.0.0.0", "localhost"]
    for _ in range(5):
        at_once = threading.Barrier(len(names))
        hosts: list[Host] = []
        errors: list[str] = []

        def start(name: str) -> None:
            at_once.wait()  # noqa: B023
            try:
                hosts.append(Host(Options(host=name, port=free_port), TOKEN))  # noqa: B023
            except StartupError as error:
                errors.append(str(error))  # noqa: B023

        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(start, names))
        for host in hosts:
            host.close()
        assert len(hosts) == 1, errors
        assert all("another bgpy server is just starting" in error for error in errors)


def test_host_keeps_its_claim_until_its_port_is_closed(hosted: Host) -> None:
    """So whoever finds the port in use while the server ends is told of it, too."""
    release, closed = hosted.claim.release, []

    def released(ended: str = "") -> None:
        with socket.socket() as probe:
            closed.append(probe.connect_ex(hosted.address) != 0)
        release(ended)

    hosted.claim.release = released  # type: ignore[method-assign]
    ready = threading.Event()
    thread = threading.Thread(target=hosted.serve, args=(ready.set,))
    thread.start()
    assert ready.wait(30)
    with Client(*hosted.address, token=TOKEN) as client:
        client.terminate()
    thread.join()
    assert closed
    assert all(closed)


def test_host_gives_port_and_folder_back_when_it_is_closed(hosted: Host) -> None:
    """The next one can have both at once."""
    host, port = hosted.address
    hosted.close()
    Host(Options(host=host, port=port), TOKEN).close()


AFTER_INIT = """
import os, resource, shutil, signal

def init_task():
    {after}
    return {{"made": "by init"}}

def exec_task(client_socket, state, args):
    from bgpy import respond
    respond(client_socket, state)

def exit_task(client_socket, state, args): pass
"""
GONE = "shutil.rmtree(os.environ['BGPY_HOME'])"
FULL = (
    "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
)


@pytest.mark.skipif(sys.platform == "win32", reason="what is open can't be removed there")
@pytest.mark.parametrize("after", [GONE, FULL], ids=["gone", "full"])
def test_server_starts_where_its_record_cannot_be_written_again(tmp_path: Path, after: str) -> None:
    """What init_task made is not lost for that."""
    path = tmp_path / "tasks_a.py"
    path.write_text(AFTER_INIT.format(after=after))
    handle = Server("127.0.0.1", 0, token=TOKEN, init_file=path).run_background()
    with handle, Client(handle.address, token=TOKEN) as client:
        assert client.call({}) == {"made": "by init"}
        client.terminate()
