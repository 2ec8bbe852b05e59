"""What to do about a server that can't be reached, by what connecting has raised.

Each way to fail leaves the same trace wherever it happens: a name that doesn't resolve, a
refusal, a network without a way, silence before or after the connection, another program, a
token. `bgpy.api.doctor` asks here last, when nothing that it knows of the server explains it.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

from bgpy.address import Address, dialled, is_loopback_host
from bgpy.errors import (
    AuthenticationError,
    BgpyError,
    NotBgpy,
    NotRunning,
    ProtocolError,
    Unreachable,
)
from bgpy.system.strikes import is_strike
from bgpy.system.wsl import firewall_rule

_NO_NETWORK = (errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)
_NO_MACHINE = (errno.EHOSTUNREACH, getattr(errno, "EHOSTDOWN", errno.EHOSTUNREACH))
_FORBIDDEN = (errno.EACCES, errno.EPERM)

_NO_ANSWER = (socket.EAI_AGAIN, socket.EAI_FAIL)
"""Of the resolver: it has not learned whether there is such a name."""


def advice_on(error: BgpyError, place: Address, windows: str | None) -> list[str]:
    """What to do about `error`; `windows` is Windows' address where this is WSL."""
    local = is_loopback_host(dialled(place).host)
    if isinstance(error, NotRunning):
        return _not_running_unix(place) if place.path else _not_running(place, local, windows)
    if isinstance(error, NotBgpy):
        return _not_bgpy(error, place, local)
    if isinstance(error, Unreachable):
        return _unreachable(error, place, local, windows)
    if isinstance(error, AuthenticationError):
        return _wrong_token(place)
    if isinstance(error, ProtocolError):
        return ["Install the same version on both sides: 'pip install --upgrade bgpy'."]
    return []


def start_here(place: Address) -> str:
    """How a server is started at `place`, on this machine."""
    return f"'bgpy server {place}' starts a server there."


def _not_running_unix(place: Address) -> list[str]:
    path = str(place.path)
    folder = os.path.dirname(path)
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if is_strike(error):
            raise
        if not os.path.isdir(folder):
            return [f"There is no folder {folder}: correct the path, or make it for a server."]
        return [f"Start the server: 'bgpy server {place}'."]
    if stat.S_ISSOCK(mode):
        # What a server that was killed has left: the next one takes it over.
        return [f"Start the server: 'bgpy server {place}'."]
    what = "a folder" if stat.S_ISDIR(mode) else "a file"
    return [f"{path} is {what} and no socket: correct the path."]


def _not_running(place: Address, local: bool, windows: str | None) -> list[str]:
    if not place.port:
        return ["Port 0 means any free port: use the port that the server took, from its log."]
    if not local:
        return [
            "That machine answers, and says that no program listens on that port. On it,",
            f"'bgpy server 0.0.0.0:{place.port}' starts a server that can be reached from here.",
            "A server on 127.0.0.1 there can't be: let it listen on 0.0.0.0, or use a tunnel,",
            f"'ssh -L {place.port}:127.0.0.1:{place.port} HOST', and 127.0.0.1:{place.port} here.",
            "A firewall that rejects says the same: if the server runs, let it pass there:",
            *_firewall(place.port),
        ]
    advice = [start_here(place)]
    if windows is not None:
        advice += [
            "This is WSL: its loopback is not that of Windows (unless its networking is",
            "mirrored). From here a server on Windows that listens on 0.0.0.0 is",
            f"{windows}:{place.port}, once an administrator has entered in PowerShell:",
            f"  {firewall_rule(place.port)}",
        ]
    return advice


def _not_bgpy(error: BgpyError, place: Address, local: bool) -> list[str]:
    if place.path is not None:
        return [f"Another program has that socket; 'ss -lxp src {place.path}' names it."]
    advice = [
        "Another program has that port, or a tunnel ends where no server listens.",
        f"To see which: 'ss -ltnp sport = :{place.port}' or 'netstat -ano' on that machine.",
    ]
    if not local and isinstance(error.__cause__, OSError):  # it has hung up at the first word
        advice += [
            "If it is a bgpy server, reached through a forwarder: connections to other machines",
            "use TLS, which one on 127.0.0.1 speaks only if it was started with --tls (tls=True).",
        ]
    return advice


def _wrong_token(place: Address) -> list[str]:
    unix = place.path is not None
    own = (
        f"with the ADDRESS {place}."
        if unix
        else (
            f"with the ADDRESS that its log names ('listening on'), such as 127.0.0.1:{place.port}."
        )
    )
    return [
        *(["Client and server of a Unix socket must run under the same account."] if unix else []),
        "If the server was given a token (BGPY_TOKEN, --token, token=...), use that one.",
        "If it made its own, it makes a new one at each start: the server's account reads it with",
        "'bgpy token show ADDRESS' on its machine,",
        own,
        f"'bgpy add {place}' keeps it here; BGPY_TOKEN, if set, takes precedence.",
    ]


def _unreachable(error: BgpyError, place: Address, local: bool, windows: str | None) -> list[str]:
    cause = error.__cause__
    if isinstance(cause, socket.gaierror):
        return _unresolved(cause, place)
    number = cause.errno if isinstance(cause, OSError) else None
    if place.path is not None:
        return [
            "Its process may be stopped or hanging: check it, and its log.",
            "'Permission denied': the server belongs to another account.",
        ]
    if "accepted the connection" in error.problem:
        return [
            "Its process may be stopped or hanging: check it, and its log. Or another program has",
            f"the port, and waits for words of its own: 'ss -ltnp sport = :{place.port}' names it.",
        ]
    if local:
        return ["Its process may be stopped or hanging: check it, and its log."]
    if place.host.lower().startswith("fe80:") and "%" not in place.host:
        return [
            "Such an address needs the name of the interface that leads there (see 'ip address'):",
            f"[{place.host}%eth0]:{place.port}.",
        ]
    if number in _NO_NETWORK:
        return [
            "This machine has no way to that network: check its own connection, a VPN that it",
            "may need, and the address.",
        ]
    if number in _FORBIDDEN:
        return ["This machine itself forbids it, by its firewall or a rule for that address."]
    if place.host == windows:
        return [
            "That is Windows: its firewall blocks connections from WSL by default. In PowerShell,",
            f"as administrator: {firewall_rule(place.port)}",
        ]
    first = "If the name is right and the machine is on, a firewall blocks the port."
    if number in _NO_MACHINE:
        first = "No machine has that address now, or a firewall there rejects connections."
    return [
        first,
        *_firewall(place.port),
        f"Or tunnel through it: 'ssh -L {place.port}:127.0.0.1:{place.port} HOST', then use "
        f"127.0.0.1:{place.port}.",
    ]


def _unresolved(error: socket.gaierror, place: Address) -> list[str]:
    if error.errno in _NO_ANSWER:
        return [
            "No name server has answered: check this machine's connection, and a VPN that it may",
            "need. An IP address works without one.",
        ]
    if "%" in place.host:
        return ["What follows the % is the name of an interface here; 'ip address' lists them."]
    return [
        "Names come from DNS and the hosts file; one that is only in ~/.ssh/config is known "
        "to ssh alone."
    ]


def _firewall(port: int) -> list[str]:
    return [
        f"On Linux: 'sudo ufw allow {port}/tcp' or 'sudo firewall-cmd --add-port={port}/tcp'. On "
        "Windows,",
        f"as administrator: {firewall_rule(port)}",
    ]
