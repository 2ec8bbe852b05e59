"""What is said where nothing listens: what became of the last server there, or of the tunnel.

A program that starts its server when it finds none learns here why the start before has failed, or
the server has crashed: from the record and the log of this account's last server at that address.
"""

from __future__ import annotations

from collections.abc import Callable

from bgpy.address import Address, dialled, is_loopback_host
from bgpy.errors import BgpyError, NotRunning
from bgpy.state import traces
from bgpy.state.records import IN_ORDER
from bgpy.state.tokens import FoundToken, Source
from bgpy.state.traces import Traces
from bgpy.system.strikes import is_strike

_KEPT = "this address's token was kept by 'bgpy add'"


def missing(
    place: Address, find_token: Callable[[], FoundToken | None], error: NotRunning, has_met: bool
) -> NotRunning:
    """The error, with what this account knows of the last server there, or of a tunnel.

    `has_met` says that the client was connected to the server before, and has not ended it itself:
    then an end in order is news, too.
    """
    try:
        is_tunnelled = _is_tunnelled(place, find_token)
        last = traces.of_last(place)
        if (
            last is not None
            and last.record is not None
            and (not last.record.ended.startswith(IN_ORDER) or (has_met and not is_tunnelled))
        ):
            return _of_last(place, last, error, is_tunnelled)
        return _of_tunnel(place, error) if is_tunnelled else error
    except (BgpyError, OSError) as failure:
        if is_strike(failure):
            raise
        return error  # nothing is known here, and that nothing listens is what happened


def _of_last(place: Address, last: Traces, error: NotRunning, is_tunnelled: bool) -> NotRunning:
    doctor = f"'bgpy doctor {place}' tells"
    if last.is_alive:
        problem = f"{error.problem} now, but {last.fate()}"
        advice = f"try again in a moment; {doctor} more"
    else:
        problem = f"{error.problem}; the last server there is gone: {last.fate()}"
        look = f"look into its log ({last.log_file}), and " if last.log_file else ""
        advice = f"{look}start it again; {doctor} how"
    if is_tunnelled:  # the server that is meant may be either
        advice += f". Or, since {_KEPT}, a tunnel led to another server: then open that again"
    return NotRunning(problem, advice=advice, address=place, log_file=last.log_file)


def _is_tunnelled(place: Address, find_token: Callable[[], FoundToken | None]) -> bool:
    """Whether the server that answers at this machine's `place` is probably on another one."""
    if place.path is not None or not is_loopback_host(dialled(place).host):
        return False
    found = find_token()
    return found is not None and found.source is Source.KEPT


def _of_tunnel(place: Address, error: NotRunning) -> NotRunning:
    return NotRunning(
        error.problem,
        advice=f"{_KEPT}, so a tunnel probably led to the server: open it again, or start a server "
        "here",
        address=place,
    )
