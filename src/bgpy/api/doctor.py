"""Finds out why a server can't be reached: tries each step, and advises at the first failure."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from bgpy.address import Address, dialled, is_loopback_host, wildcards
from bgpy.api.advice import advice_on, start_here
from bgpy.api.settings import fitting_tls
from bgpy.calling.blocking.asking import description
from bgpy.calling.blocking.connecting import Connected, Target, connect
from bgpy.calling.blocking.hanging import kill_command
from bgpy.codec.edits import edited
from bgpy.errors import (
    AuthenticationError,
    BgpyError,
    NotBgpy,
    NotRunning,
    Unreachable,
)
from bgpy.state import occupied, records, tokens, traces
from bgpy.state.records import Record
from bgpy.state.tokens import FoundToken, Source
from bgpy.state.traces import Traces
from bgpy.system.wsl import windows_host
from bgpy.version import __version__

TIME = 5.0
"""Seconds for each attempt to connect."""


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
    tls = fitting_tls(tls, place)
    found = tokens.find(tokens.check(token), place)
    source = "none is known here" if found is None else found.source.value
    findings = Findings([("address", str(place)), ("token", source), *_pruned(place)])
    started = monotonic()
    try:
        connected = connect(Target(place, tls, lambda: found), os.urandom(16), TIME)
    except BgpyError as error:
        findings.error = error
        last = traces.of_last(place)
        if last is not None:
            findings.known += _left(place, last, error)
        findings.advice = (
            _other_way(place, tls, error)
            or _other_token(place, tls, found, error)
            or _own_process(place, last, error)
            or [
                *(again := _started_again(place, error)),
                *_other_machine(place, found, error, again),
            ]
            or advice_on(error, place, windows_host())
        )
        return findings
    seconds = monotonic() - started
    try:
        said = description(connected, TIME)
    finally:
        connected.reached.sock.close()
    findings.known += _described(place, connected) + _recorded(place, connected)
    if said is None:
        findings.error = Unreachable(f"{place} proved the token, and then said nothing more")
        findings.advice = _own_process(place, traces.of_last(place), findings.error) or advice_on(
            findings.error, place, None
        )
        return findings
    findings.known.append(("state", _state(said)))
    if said.get("ending"):
        findings.error = BgpyError(f"the server at {place} is ending: it rejects new calls")
        findings.advice = _ending(connected.welcome.pid)
    else:
        text = f"all is well: connected and proved in {seconds * 1000:.1f} ms"
        findings.known.append(("result", text))
    return findings


def _pruned(place: Address) -> list[tuple[str, str]]:
    """Put away what dead servers at other addresses have left, and tell of it."""
    dead = [(Address(each.host, each.port), each.fate()) for each in records.prune()]
    return [
        ("removed", f"record and token of the server at {there}: {fate}")
        for there, fate in dead
        if there != place
    ]


def _recorded(place: Address, connected: Connected) -> list[tuple[str, str]]:
    """What the record of the server tells, where it is one of this account on this machine."""
    number = connected.welcome.incarnation
    record = records.written_by(number, place)
    if record is None and place.path is None:  # under another address
        own = (each for each in occupied.on_port(place.port))
        record = next((each for each in own if each.incarnation == number.hex()), None)
    return [] if record is None else _origin(place, record)


def _origin(place: Address, record: Record) -> list[tuple[str, str]]:
    """What the record of a server that runs tells of its start, its log and its code."""
    told = [("started", record.origin()), ("log", record.log_file or "")]
    if changed := edited(record.modules):
        again = f"'bgpy terminate {place}', then start it again, to use it as it is now"
        told.append(("edited", f"since the server loaded it: {', '.join(changed)}; {again}"))
    return [(name, text) for name, text in told if text]


def _state(said: dict[str, Any]) -> str:
    """What a server says of itself, in a line."""
    tasks = "it has its tasks" if said.get("initialized") else "it has no tasks yet"
    busy = "runs one" if said.get("busy") else "runs none now"
    if said.get("busy") and not said.get("initialized"):
        tasks, busy = "init_task is running", "and calls wait for it"
    waiting = int(said.get("queued", 0))
    others = max(int(said.get("clients", 1)) - 1, 0)  # without this one
    calls = "1 call waits" if waiting == 1 else f"{waiting} calls wait"
    clients = "1 other client" if others == 1 else f"{others} other clients"
    return f"{tasks}, {busy}; {calls}, {clients}"


def _ending(pid: int) -> list[str]:
    process = f"process {pid}" if pid else "its process"
    or_kill = f", or 'kill -9 {pid}'" if pid else ""
    return [
        f"It runs what was queued before and exit_task, then {process} exits: start it again then.",
        f"To end it at once, without exit_task: kill() of its handle{or_kill} on its machine.",
    ]


def _left(place: Address, left: Traces, error: BgpyError) -> list[tuple[str, str]]:
    """Facts of the last server of this account at `place`, which did not answer, or is not there.

    It may have been one on all interfaces.
    """
    record = left.record
    if record is not None and left.is_alive and not isinstance(error, NotRunning):
        stopped = ", which is stopped" if _is_stopped(record.pid) else ""
        whose = f"server of this account at {left.there}, as its record says"
        facts = [("process", f"{record.pid}{stopped}: bgpy {record.version}, {whose}")]
        facts += _origin(place, record)
    else:
        facts = [("last", f"a server of this account at {left.there}; {left.fate()}")]
        if record is not None and record.origin():
            facts.append(("started", record.origin()))
        if left.line:
            facts.append(("log", str(left.log_file)))
    if left.line:
        facts.append(("log ends", left.line))
    return facts


def _is_stopped(pid: int) -> bool:
    """Whether that process was stopped, by SIGSTOP or Ctrl-Z."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False


def _other_way(place: Address, tls: bool | None, error: BgpyError) -> list[str]:
    """The advice where a bgpy server answers with TLS but not without, or the other way round."""
    if not isinstance(error, NotBgpy) or place.path is not None:
        return []
    if tls is None and _answers(place, True, None):
        return ["This server accepts TLS only: use --tls here, and Client(..., tls=True)."]
    if tls and _answers(place, None, None):
        return ["This server does not use TLS: leave --tls out here, and tls=True out of Client."]
    return []


def _other_token(
    place: Address, tls: bool | None, found: FoundToken | None, error: BgpyError
) -> list[str]:
    """The advice where this account knows another token, and that one is right."""
    if not isinstance(error, AuthenticationError):
        return []
    if found is None:
        return _own_server(place, tls)
    known = tokens.known(place)
    if known is None or known.token == found.token or not _answers(place, tls, known):
        return []
    if found.source is Source.ENVIRONMENT:
        return [f"Unset BGPY_TOKEN: {known.source.value} is right."]
    return [f"Give no token (leave --token out): {known.source.value} is right."]


def _own_process(place: Address, last: Traces | None, error: BgpyError) -> list[str]:
    """The advice where a server of this account runs there, and refuses or doesn't answer."""
    if last is None or last.record is None or not last.is_alive:
        return []
    pid = last.record.pid
    if isinstance(error, AuthenticationError) and records.found_with_token(last.there) is None:
        return [
            "It was given its token (BGPY_TOKEN, --token, token=...) and keeps no copy: use that.",
            f"'bgpy add {place}' keeps it here; BGPY_TOKEN, if set, takes precedence.",
            *_ways_to_end(pid),
        ]
    if not isinstance(error, Unreachable):
        return []
    if _is_stopped(pid):
        return [f"'kill -CONT {pid}' lets its process run on."]
    return [
        f"Its process {pid} runs a task in C that keeps the GIL, or hangs: it answers when that is",
        f"over. '{kill_command(pid)}' ends it at once, without exit_task.",
    ]


def _ways_to_end(pid: int) -> list[str]:
    """How a process is ended whose token is lost."""
    if os.name == "nt":
        return [f"Without it: '{kill_command(pid)}' ends the server at once, without exit_task."]
    return [f"Without it: 'kill {pid}' ends the server as 'bgpy terminate' does."]


def _other_machine(
    place: Address, found: FoundToken | None, error: BgpyError, again: list[str]
) -> list[str]:
    """The advice where nothing listens on loopback, and the token is of a server elsewhere.

    `again` is how the last server here is started, which may be the one that is meant.
    """
    kept = found is not None and found.source is Source.KEPT
    if not (isinstance(error, NotRunning) and kept) or place.path is not None:
        return []
    if not is_loopback_host(dialled(place).host):
        return []
    tunnel = f"'ssh -L {place.port}:127.0.0.1:{place.port} HOST'."
    if again:
        return [
            "Or, since 'bgpy add' has kept a token for this address, the server is on another",
            f"machine and a tunnel led there: then open it again, such as {tunnel}",
        ]
    return [
        "Its token was kept by 'bgpy add', so the server is probably on another machine: if a",
        f"tunnel leads there, open it again, such as {tunnel}",
        f"If the server is to run here, {start_here(place)}",
    ]


def _started_again(place: Address, error: BgpyError) -> list[str]:
    """The advice where the last server's record tells what had started it, and with which tasks."""
    if not isinstance(error, NotRunning):
        return []
    left = [records.find_ended(there) for there in (place, *wildcards(place))]
    record = max((each for each in left if each), key=lambda each: each.started, default=None)
    if record is None:
        return []
    there = Address(record.host, record.port)
    advice = []
    if record.script:
        within = f" (it ran in {record.folder})" if record.folder else ""
        advice.append(f"Run what started it again: {record.script}{within}.")
    if record.init_file:
        command = f"bgpy server {there} -i {shlex.quote(record.init_file)}"
        advice.append(f"'{command}' starts a server with its init file there.")
    return advice


def _own_server(place: Address, tls: bool | None) -> list[str]:
    """The advice where the server at `place` is one of this account, under another address."""
    for record in occupied.on_port(place.port) if place.path is None else []:
        there = Address(record.host, record.port)
        known = tokens.known(there)
        if known is not None and _answers(place, tls, known):
            return [
                f"It is this account's own server at {there}: use {dialled(there)} here, which "
                "finds its token.",
                f"'bgpy token show {there} | bgpy add {place}' keeps the token for {place} too.",
            ]
    return []


def _answers(place: Address, tls: bool | None, token: FoundToken | None) -> bool:
    """Whether a bgpy server answers at `place`, and takes `token` if one is given."""
    try:
        connect(Target(place, tls, lambda: token), os.urandom(16), TIME).reached.sock.close()
    except AuthenticationError:
        return token is None
    except BgpyError:
        return False
    return True


def _described(place: Address, connected: Connected) -> list[tuple[str, str]]:
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
    ]
