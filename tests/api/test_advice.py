"""What `bgpy doctor` advises: each way to fail has its own."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from bgpy.address import parse
from bgpy.api.advice import advice_on, start_here
from bgpy.errors import (
    AuthenticationError,
    BgpyError,
    NotBgpy,
    NotRunning,
    RemoteProtocolError,
    Unreachable,
    VersionMismatch,
)

ERRORS = [
    NotRunning,
    NotBgpy,
    Unreachable,
    AuthenticationError,
    VersionMismatch,
    RemoteProtocolError,
]
"""All that connecting raises."""

WINDOWS = "172.18.0.1"


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", ["127.0.0.1:5", "box:5", "unix:/run/me/model", f"{WINDOWS}:5"])
@pytest.mark.parametrize("windows", [None, WINDOWS])
def test_advice_is_there_whatever_goes_wrong(
    error: type[BgpyError], place: str, windows: str | None
) -> None:
    """In lines that fit a terminal; of a Unix socket nobody is told about ports."""
    lines = advice_on(error("x"), parse(place), windows)
    assert lines
    if place.startswith("unix:"):
        assert not any(word in line for line in lines for word in ("port", ":0", "ssh", "firewall"))


@pytest.mark.parametrize(
    ("error", "place", "windows", "said"),
    [
        (NotRunning, "127.0.0.1:5", None, ["'bgpy server 127.0.0.1:5'"]),
        (NotRunning, "127.0.0.1:5", WINDOWS, [f"{WINDOWS}:5", "New-NetFirewallRule", "5 -Action"]),
        (NotRunning, "box:5", None, ["0.0.0.0:5", "ssh -L 5:127.0.0.1:5"]),
        (NotRunning, "unix:/x", None, ["'bgpy server unix:/x'"]),
        (NotRunning, "box:0", None, ["from its log"]),
        (NotBgpy, "box:5", None, ["ss -ltnp sport = :5"]),
        (NotBgpy, "unix:/x", None, ["ss -lxp src /x"]),
        (Unreachable, "127.0.0.1:5", None, ["log"]),
        (Unreachable, "unix:/x", None, ["log", "another account"]),
        (AuthenticationError, "unix:/x", None, ["same account", "bgpy add unix:/x"]),
        (Unreachable, "0.0.0.0:5", None, ["log"]),
        (Unreachable, "box:5", None, ["ufw allow 5/tcp", "New-NetFirewallRule", "ssh -L 5:"]),
        (Unreachable, f"{WINDOWS}:5", WINDOWS, ["That is Windows", "New-NetFirewallRule"]),
        (AuthenticationError, "box:5", None, ["bgpy token show", "bgpy add box:5", "BGPY_TOKEN"]),
        (VersionMismatch, "box:5", None, ["pip install --upgrade bgpy"]),
        (RemoteProtocolError, "box:5", None, ["pip install --upgrade bgpy"]),
    ],
)
def test_advice_names_what_to_do(
    error: type[BgpyError], place: str, windows: str | None, said: list[str]
) -> None:
    """In words that can be entered as they are."""
    text = "\n".join(advice_on(error("x"), parse(place), windows))
    for each in said:
        assert each in text


def _because(error: BgpyError, cause: OSError) -> BgpyError:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "place", "said"),
    [
        (socket.gaierror(socket.EAI_NONAME, "no such name"), "box:5", "hosts file"),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), "box:5", "No name server has answered"),
        (socket.gaierror(socket.EAI_FAIL, "failed"), "box.example:5", "No name server"),
        (socket.gaierror(socket.EAI_NONAME, "no"), "[fe80::1%nosuch]:5", "name of an interface"),
        (OSError(errno.EINVAL, "invalid"), "[fe80::1]:5", "[fe80::1%eth0]:5"),
        (OSError(errno.ENETUNREACH, "no network"), "192.0.2.9:5", "has no way to that network"),
        (OSError(errno.ENETDOWN, "down"), "box:5", "has no way to that network"),
        (OSError(errno.EADDRNOTAVAIL, "no"), "[2001:db8::1]:5", "has no way to that network"),
        (PermissionError(errno.EACCES, "forbidden"), "box:5", "This machine itself forbids it"),
        (PermissionError(errno.EPERM, "forbidden"), "box:5", "This machine itself forbids it"),
    ],
)
def test_no_firewall_is_blamed_for_what_is_none(cause: OSError, place: str, said: str) -> None:
    """A name, a network without a way, a rule of this machine's: none is mended on the other."""
    text = "\n".join(advice_on(_because(Unreachable("x"), cause), parse(place), None))
    assert said in text
    assert not any(word in text for word in ("ufw", "ssh -L", "New-NetFirewallRule"))


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (TimeoutError(), "If the name is right and the machine is on, a firewall blocks the port"),
        (OSError(errno.EHOSTUNREACH, "no route"), "No machine has that address now, or a firewall"),
        (OSError(errno.ETIMEDOUT, "time is over"), "a firewall blocks the port"),
    ],
)
def test_firewalls_have_their_commands_where_one_may_be_in_the_way(
    cause: OSError, said: str
) -> None:
    """As packets are dropped, and as some of them reject."""
    text = "\n".join(advice_on(_because(Unreachable("x"), cause), parse("box:5"), None))
    for each in (said, "ufw allow 5/tcp", "firewall-cmd --add-port=5/tcp", "ssh -L 5:127.0.0.1:5"):
        assert each in text


@pytest.mark.parametrize("place", ["127.0.0.1:5", "box:5"])
def test_no_firewall_is_blamed_where_the_connection_was_accepted(place: str) -> None:
    """It is the program behind it that says nothing."""
    error = Unreachable(f"{place} accepted the connection but did not answer in time")
    text = "\n".join(advice_on(_because(error, TimeoutError()), parse(place), None))
    assert "stopped or hanging" in text
    assert "sport = :5" in text
    assert "ufw" not in text


def test_forwarder_is_named_where_the_other_side_hung_up_on_tls() -> None:
    """A server on loopback speaks none; a program that speaks otherwise is another one."""
    hung_up = _because(NotBgpy("x"), ConnectionResetError())
    assert "started with --tls" in "\n".join(advice_on(hung_up, parse("box:5"), None))
    for error, place in ((hung_up, "127.0.0.1:5"), (NotBgpy("x"), "box:5")):
        assert "--tls" not in "\n".join(advice_on(error, parse(place), None))


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Python has no Unix sockets here")
def test_path_of_no_socket_is_told(tmp_path: Path) -> None:
    """Nobody is sent to start a server where none can be."""
    (tmp_path / "file").write_text("")
    left = tmp_path / "left"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.fspath(left))
    for name, said in (
        ("file", "is a file and no socket"),
        ("", "is a folder and no socket"),
        ("none/x", f"There is no folder {tmp_path}/none"),
        ("new", "Start the server"),
        ("left", "Start the server"),
    ):
        place = parse(f"unix:{tmp_path / name}")
        [text] = advice_on(NotRunning("x"), place, None)
        assert said in text
        assert start_here(place) == f"'bgpy server {place}' starts a server there."
