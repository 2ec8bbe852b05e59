"""What `bgpy doctor` finds out: each way to fail has its advice."""

from __future__ import annotations

import pytest

from bgpy.address import parse
from bgpy.api.doctor import _advice
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
    lines = _advice(parse(place), error("x"), windows)
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
    text = "\n".join(_advice(parse(place), error("x"), windows))
    for each in said:
        assert each in text
