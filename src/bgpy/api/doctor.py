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
from bgpy.codec.edits import edited
from bgpy.errors import (
    AuthenticationError,
    BgpyError,
    NotBgpy,
    NotRunning,
    Unreachable,
)
from bgpy.state import folders, occupied, records, reports, tokens
from bgpy.state.tokens import FoundToken, Source
from bgpy.system import files
from bgpy.system.wsl import windows_host
from bgpy.version import __version__

TIME = 5.0
"""Seconds for each attempt to connect."""

LINE = 400
"""Bytes at most that are quoted from the end of a log."""


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
        if isinstance(error, NotRunning):
            findings.known += last_server(place)
        findings.advice = (
            _other_way(place, tls, error)
            or _other_token(place, tls, found, error)
            or _other_machine(place, found, error)
            or _started_again(place, error)
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
        findings.advice = advice_on(findings.error, place, None)
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
    if record is None:
        return []
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
    others = max(int(said.get("clients", 1)) - 1, 0)  # without this one
    return f"{tasks}, {busy}; {said.get('queued', 0)} calls wait, {others} other clients"


def _ending(pid: int) -> list[str]:
    process = f"process {pid}" if pid else "its process"
    or_kill = f", or 'kill -9 {pid}'" if pid else ""
    return [
        f"It runs what was queued before and exit_task, then {process} exits: start it again then.",
        f"To end it at once, without exit_task: kill() of its handle{or_kill} on its machine.",
    ]


def last_server(place: Address) -> list[tuple[str, str]]:
    """Facts of the last server of this account at `place`, where nothing listens now.

    It may have been one on all interfaces. Empty if none is known.
    """
    left = [traces for there in (place, *wildcards(place)) if (traces := _traces(there))]
    return max(left)[1] if left else []


def _traces(there: Address) -> tuple[float, list[tuple[str, str]]] | None:
    """What the last server at exactly that address left, and when it wrote its log last."""
    alive = records.find(there)
    record = alive or records.find_ended(there)
    logs = [place.log for place in folders.places(*there)]
    newest = max(logs, key=lambda path: _last_line(path)[0])
    log_file = newest if record is None else record.log_file
    when, line = _last_line(log_file)
    if record is None and not line:
        return None
    if record is None:
        told = reports.end_told_by(newest)
        how = f"its log says that {told}" if told else "it left no word of how it ended"
    elif alive is not None:
        how = f"process {record.pid} still runs: it is just starting, or ending"
    else:
        told = None if record.ended else reports.end_told_by(log_file)
        how = f"{record.fate()}{f' (its log says that {told})' if told else ''}"
    facts = [("last", f"a server of this account at {there}; {how}")]
    if record is not None and record.origin():
        facts.append(("started", record.origin()))
    if line:
        # Not as its cause of death: a crash may leave no line, and this one be about another call.
        crash = None if record is not None and record.ended else reports.crash_line(log_file)
        facts += [("log", str(log_file)), ("log ends", crash or line)]
    return when, facts


def _last_line(log_file: str | None) -> tuple[float, str]:
    """When a log was written last, and its last line, as far as it fits; empty without one."""
    if log_file is None:
        return 0.0, ""
    try:
        with files.open_regular(log_file) as log:
            status = os.fstat(log.fileno())
            log.seek(max(0, status.st_size - LINE))
            lines = (log.read(LINE) or b"").decode(errors="replace").split("\n")
    except OSError:
        return 0.0, ""
    written = [line.strip() for line in lines if line.strip()]
    line = written[-1] if written else ""
    return status.st_mtime, "".join(c if c.isprintable() else "?" for c in line)


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


def _other_machine(place: Address, found: FoundToken | None, error: BgpyError) -> list[str]:
    """The advice where nothing listens on loopback, and the token is of a server elsewhere."""
    kept = found is not None and found.source is Source.KEPT
    if not (isinstance(error, NotRunning) and kept) or place.path is not None:
        return []
    if not is_loopback_host(dialled(place).host):
        return []
    return [
        "Its token was kept by 'bgpy add', so the server is probably on another machine: if a",
        f"tunnel leads there, open it again, such as 'ssh -L {place.port}:127.0.0.1:{place.port} "
        "HOST'.",
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
