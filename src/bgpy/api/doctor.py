"""Why a server can't be talked to: each step of the way tried, and what to do where it ends."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from time import monotonic

from bgpy.address import Address, dialled, is_loopback_host
from bgpy.api.client import checked_tls
from bgpy.calling.blocking.connecting import Connected, Target, connect
from bgpy.errors import (
    AuthenticationError,
    BgpyError,
    NotBgpy,
    NotRunning,
    ProtocolError,
    Unreachable,
)
from bgpy.state import tokens
from bgpy.system.wsl import firewall_rule, windows_host
from bgpy.version import __version__

TIME = 5.0
"""Seconds for the whole."""


@dataclass
class Findings:
    """What was found out."""

    known: list[tuple[str, str]] = field(default_factory=list)
    """What is known, and what it is: ``("server", "bgpy 1.0")``."""
    error: BgpyError | None = None
    """What goes wrong; None if nothing does."""
    advice: list[str] = field(default_factory=list)
    """What to do about it."""


def diagnose(place: Address, token: str | None, tls: bool | None) -> Findings:
    """Try to reach the server at `place`, with the token that a `Client` would use.

    Raises `ValueError` for TLS where there is none.
    """
    tls = checked_tls(tls, place)
    found = tokens.find(tokens.check(token), place)
    source = "none is known here" if found is None else found.source.value
    findings = Findings([("address", str(place)), ("token", source)])
    started = monotonic()
    try:
        connected = connect(Target(place, tls, lambda: found), os.urandom(16), TIME)
    except BgpyError as error:
        findings.error = error
        if isinstance(error, NotBgpy) and tls is None and _speaks_tls(place):
            findings.advice = [
                "It is one that speaks TLS only: use --tls here, and Client(..., tls=True)."
            ]
        else:
            findings.advice = _advice(place, error, windows_host())
        return findings
    findings.known += _described(place, connected, monotonic() - started)
    connected.reached.sock.close()
    return findings


def _speaks_tls(place: Address) -> bool:
    """Whether a bgpy server answers there over TLS, whatever its token."""
    if place.path is not None:
        return False
    try:
        connect(Target(place, True, lambda: None), os.urandom(16), TIME).reached.sock.close()
    except AuthenticationError:
        return True
    except BgpyError:
        return False
    return True


def _described(place: Address, connected: Connected, seconds: float) -> list[tuple[str, str]]:
    welcome = connected.welcome
    python = ".".join(map(str, welcome.python))
    if connected.reached.binding:
        spoken = f"TLS, certificate {connected.reached.binding.hex()[:16]}…"
    elif place.path is not None:
        spoken = "plain, over a Unix socket"
    else:
        spoken = "plain, within this machine or a tunnel"
    return [
        ("server", f"bgpy {welcome.version}, Python {python}, process {welcome.pid or 'unknown'}"),
        ("client", f"bgpy {__version__}"),
        ("spoken", spoken),
        ("result", f"all is well: connected and proved in {seconds * 1000:.1f} ms"),
    ]


def _advice(place: Address, error: BgpyError, windows: str | None) -> list[str]:
    """What to do about `error`; `windows` is Windows' address where this is WSL."""
    local = is_loopback_host(dialled(place).host)
    if isinstance(error, NotRunning):
        return _not_running(place, local, windows)
    if isinstance(error, NotBgpy):
        if place.path is not None:
            return [f"Another program has that socket; 'ss -lxp src {place.path}' tells which."]
        return [
            "Another program has that port, or a tunnel leads to where no server listens.",
            f"Look who it is: 'ss -ltnp sport = :{place.port}' or 'netstat -ano' over there.",
        ]
    if isinstance(error, Unreachable):
        return _unreachable(place, local, windows)
    if isinstance(error, AuthenticationError):
        one_account = ["Both sides of a Unix socket have to run as the same account."]
        return (one_account if place.path is not None else []) + [
            "If the server was given a token (BGPY_TOKEN, --token, token=...), use that one.",
            "If it made its own, 'bgpy token show ADDRESS' tells it to the account that runs it.",
            f"'bgpy add {place}' keeps it here; BGPY_TOKEN, if set, comes first.",
        ]
    if isinstance(error, ProtocolError):
        return ["Bring both sides to the same version: 'pip install --upgrade bgpy'."]
    return []


def _not_running(place: Address, local: bool, windows: str | None) -> list[str]:
    if place.path is not None:
        return [f"Start the server: 'bgpy server {place}'."]
    if not place.port:
        return ["Port 0 stands for any free one: ask for the port that the server got."]
    advice = [f"The machine answers, and nothing listens: 'bgpy server {place}' starts a server."]
    if not local:
        advice.append(
            f"A server on 127.0.0.1 is not reached from here: let it listen on "
            f"0.0.0.0:{place.port}, or use 'ssh -L {place.port}:127.0.0.1:{place.port}'."
        )
    elif windows is not None:
        advice += [
            "This is WSL, whose loopback is not that of Windows (unless its networking is",
            f"mirrored). A server on Windows that listens on 0.0.0.0 is {windows}:{place.port}",
            "from here, once an administrator has entered in PowerShell:",
            f"  {firewall_rule(place.port)}",
        ]
    return advice


def _unreachable(place: Address, local: bool, windows: str | None) -> list[str]:
    if local:
        advice = ["Its process may be stopped or hang: look at it, and at its log."]
        if place.path is not None:
            advice.append("Permission denied means that another account's server is meant.")
        return advice
    if place.host == windows:
        return [
            "That is Windows, whose firewall lets nobody in from WSL by default. In PowerShell,",
            f"as administrator: {firewall_rule(place.port)}",
        ]
    return [
        "If the name is right and the machine is on, a firewall drops what is sent there.",
        f"On Linux: 'sudo ufw allow {place.port}/tcp'. On Windows, as administrator:",
        f"  {firewall_rule(place.port)}",
        f"Or go around it: 'ssh -L {place.port}:127.0.0.1:{place.port} HOST', then use "
        f"127.0.0.1:{place.port}.",
    ]
