"""Whether a connection is encrypted: the one decision, from the address and what was asked for.

::

                       Unix socket     loopback      other machines
    tls not given      no              no            yes, or over loopback as the client likes
    tls=True           refused         yes           the same
    tls=False          no              no            refused
    a certificate      refused         with tls      fits

Client and server, and what dials and listens for them, all ask here. What is refused raises
`ArgumentError` as soon as it is known: at once for a numeric host or a path, and for a name when it
has been looked up.
"""

from __future__ import annotations

from enum import Enum

from bgpy.address import Address, is_loopback_host, is_name
from bgpy.config import ADVISED_TOKEN
from bgpy.errors import Advice, ArgumentError


class Reach(Enum):
    """Who can get to an address."""

    ACCOUNT = "a Unix socket: the server's account"
    MACHINE = "loopback: all programs on this machine"
    OTHERS = "other machines"
    UNKNOWN = "a name that has not been looked up"


class Encryption(Enum):
    """Whether connections to an address are encrypted."""

    NONE = "plain"
    ALWAYS = "TLS"
    BEYOND_LOOPBACK = "TLS, or plain for clients that arrive over loopback"


def reach(place: Address) -> Reach:
    """Who can get to a server at `place`, as far as that is known without a look-up."""
    if place.path is not None:
        return Reach.ACCOUNT
    if is_name(place.host):
        return Reach.UNKNOWN
    return Reach.MACHINE if is_loopback_host(place.host) else Reach.OTHERS


def encryption(
    place: Address,
    tls: bool | None,
    *,
    certificate: bool = False,
    plain_loopback: bool = False,
) -> Encryption | None:
    """Whether connections to `place` are encrypted, where `tls` was asked for, refused or neither.

    A server says in addition whether it was given a `certificate`, and whether it takes plain
    connections that arrive over loopback. None for a name where that depends on what it stands
    for: ask again with what the look-up gives. Raises `ArgumentError` for what doesn't fit.
    """
    where = reach(place)
    if where is Reach.ACCOUNT and (tls or certificate):
        raise _needless(place, tls)
    if certificate and not tls and (where is Reach.MACHINE or tls is False):
        raise ArgumentError(
            f"certfile was given, but the server at {place} does not use TLS",
            advice=Advice(
                "give tls=True as well, or leave certfile out",
                "give --tls as well, or leave --certfile out",
            ),
            address=place,
        )
    match where:
        case Reach.UNKNOWN:
            return None
        case Reach.OTHERS if tls is False:
            raise ArgumentError(
                f"{place} is beyond this machine, and connections to other machines use TLS",
                advice="leave tls=False out, or use an address on 127.0.0.1",
                address=place,
            )
        case Reach.OTHERS:
            return Encryption.BEYOND_LOOPBACK if plain_loopback else Encryption.ALWAYS
        case _:
            return Encryption.ALWAYS if tls else Encryption.NONE


def check_token(place: Address, token: str) -> None:
    """Raise `ArgumentError` for a token that is too short for an address that others can reach."""
    if reach(place) is Reach.OTHERS and len(token) < ADVISED_TOKEN:
        raise ArgumentError(
            f"the token has {len(token)} characters, and other machines can reach {place}",
            advice=Advice(
                f"use one of {ADVISED_TOKEN} or more, best made by token_create()",
                f"use one of {ADVISED_TOKEN} or more, or unset BGPY_TOKEN, and one is made",
            ),
            address=place,
        )


def _needless(place: Address, tls: bool | None) -> ArgumentError:
    given = Advice("leave tls=True out", "leave --tls out")
    if not tls:
        given = Advice("leave certfile out", "leave --certfile out")
    return ArgumentError(
        "a Unix socket stays within this machine and has no TLS", advice=given, address=place
    )
