"""What is said where a server doesn't hold the token of this client.

A server that is given no token makes a new one at each start, so a token that was copied, or kept
by ``bgpy add``, is refused after that. When the server was started can be known to its own account,
by its record; from that a client that was connected before knows that it was started anew.
"""

from __future__ import annotations

from collections.abc import Callable

from bgpy.address import Address
from bgpy.errors import Advice, AuthenticationError, BgpyError
from bgpy.state import tokens
from bgpy.state.tokens import FoundToken, Source
from bgpy.system.strikes import is_strike

_LEAVE_OUT = {
    Source.ARGUMENT: Advice("give no token", "leave --token out"),
    Source.ENVIRONMENT: Advice("unset BGPY_TOKEN", "unset BGPY_TOKEN"),
}
"""How the token is found that the server keeps for this account."""

_OTHER = (
    "use the token that the server was started with. A server that is given none makes a new one "
    "at each start: 'bgpy token show ADDRESS' prints it for its account on its machine, and 'bgpy "
    "add {}' keeps it here. To have one that stays, start the server with token=... or BGPY_TOKEN"
)


def of_token(
    address: Address, found: FoundToken | None, error: AuthenticationError
) -> AuthenticationError:
    """The error, with the server that it is about, and where the token came from (never it)."""
    if found is None:
        return AuthenticationError(error.problem, advice=error.advice, address=address)
    problem = f"{error.problem}; the token was {found.source.value}"
    kept = _kept(address)
    if kept is None or kept.record is None or kept.token == found.token:
        return AuthenticationError(problem, advice=_OTHER.format(address), address=address)
    at = f" at {kept.record.started}" if kept.record.started else ""
    problem += (
        f". The server was started{at} and made a new token then, which it keeps for this account"
    )
    return AuthenticationError(problem, advice=_LEAVE_OUT.get(found.source), address=address)


def since_restart(
    error: AuthenticationError, address: Address, is_another: Callable[[str], bool]
) -> AuthenticationError:
    """The error, and that the server was started anew, where its record tells that.

    `is_another` tells of a server's number whether this client was connected to another one. A
    client that has met none, or finds no record, may have another reason to be refused.
    """
    kept = _kept(address)
    if kept is None or kept.record is None or not is_another(kept.record.incarnation):
        return error
    return AuthenticationError(
        f"the server has been started anew since this client connected to it: {error.problem}",
        advice=error.advice,
        address=error.address,
    )


def _kept(address: Address) -> FoundToken | None:
    """The token that the server keeps for this account."""
    try:
        return tokens.known(address)
    except (BgpyError, OSError) as failure:
        if is_strike(failure):
            raise
        return None
