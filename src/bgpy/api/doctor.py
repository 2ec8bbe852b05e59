"""Finds out why a server can't be reached: tries each step, and advises at the first failure."""

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
"""Seconds for the whole diagnosis."""


@dataclass
class Findings:
    """The result of a diagnosis."""

    known: list[tuple[str, str]] = field(default_factory=list)
    """Facts, each a name and its value: ``("server", "bgpy 1.0")``."""
    error: BgpyError | None = None
    """Why connecting failed; None if it succeeded."""
    advice: list[str] = field(default_factory=list)
    """What to do about it."""


def diagnose(place: Address, token: str | None, tls: bool | None) -> Findings:
    """Try to reach the server at `place`, with the token that a `Client` would use.

    Raises `ValueError` if `tls` is asked for on a Unix socket.
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
                "This server accepts TLS only: use --tls here, and Client(..., tls=True)."
            ]
        else:
            findings.advice = _advice(place, error, windows_host())
        return findings
    findings.known += _described(place, connected, monotonic() - started)
    connected.reached.sock.close()
    return findings


def _speaks_tls(place: Address) -> bool:
    """Whether a bgpy server answers at `place` over TLS, whatever its token."""
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
            return [f"Another program has that socket; 'ss -lxp src {place.path}' names it."]
        return [
            "Another program has that port, or a tunnel ends where no server listens.",
            f"To see which: 'ss -ltnp sport = :{place.port}' or 'netstat -ano' on that machine.",
        ]
    if isinstance(error, Unreachable):
        return _unreachable(place, local, windows)
    if isinstance(error, AuthenticationError):
        one_account = ["Client and server of a Unix socket must run under the same account."]
        return (one_account if place.path is not None else []) + [
            "If the server was given a token (BGPY_TOKEN, --token, token=...), use that one.",
            "If it made its own, the server's account reads it with 'bgpy token show ADDRESS'.",
            f"'bgpy add {place}' keeps it here; BGPY_TOKEN, if set, takes precedence.",
        ]
    if isinstance(error, ProtocolError):
        return ["Install the same version on both sides: 'pip install --upgrade bgpy'."]
    return []


def _not_running(place: Address, local: bool, windows: str | None) -> list[str]:
    if place.path is not None:
        return [f"Start the server: 'bgpy server {place}'."]
    if not place.port:
        return ["Port 0 means any free port: use the port that the server took, from its log."]
    advice = [f"No program listens on that port: 'bgpy server {place}' starts a server."]
    if not local:
        advice.append(
            f"A server on 127.0.0.1 can't be reached from here: let it listen on "
            f"0.0.0.0:{place.port}, or use 'ssh -L {place.port}:127.0.0.1:{place.port}'."
        )
    elif windows is not None:
        advice += [
            "This is WSL: its loopback is not that of Windows (unless its networking is",
            "mirrored). From here a server on Windows that listens on 0.0.0.0 is",
            f"{windows}:{place.port}, once an administrator has entered in PowerShell:",
            f"  {firewall_rule(place.port)}",
        ]
    return advice


def _unreachable(place: Address, local: bool, windows: str | None) -> list[str]:
    if local:
        advice = ["Its process may be stopped or hanging: check it, and its log."]
        if place.path is not None:
            advice.append("'Permission denied': the server belongs to another account.")
        return advice
    if place.host == windows:
        return [
            "That is Windows: its firewall blocks connections from WSL by default. In PowerShell,",
            f"as administrator: {firewall_rule(place.port)}",
        ]
    return [
        "If the name is right and the machine is on, a firewall blocks the port.",
        f"On Linux: 'sudo ufw allow {place.port}/tcp'. On Windows, as administrator:",
        f"  {firewall_rule(place.port)}",
        f"Or tunnel through it: 'ssh -L {place.port}:127.0.0.1:{place.port} HOST', then use "
        f"127.0.0.1:{place.port}.",
    ]
