"""A client that travels: what its pickle holds, and where its token is found on arrival.

::

    Client ──pickle──► address, tls, time-outs, a key ──► Client, which connects by itself

**The token doesn't travel**: pickles are written to files, caches and queues, and whoever
reads one there would be able to run code as the server's user. A client without a token of
its own looks it up wherever it arrives. One that was given a token leaves it behind, and has
it again in two cases: in this process and its forked children, where the key leads to the
token in memory; and in a process that `multiprocessing` is just starting. That one reads
the pickle from a private pipe and runs as the same user, so for it the token is in the
pickle: the rule by which `multiprocessing` passes on its own key.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from bgpy.address import Address
from bgpy.errors import AuthenticationError
from bgpy.state import tokens


class Given:
    """A token that a client was given, and the key by which its pickles name it."""

    __slots__ = ("__weakref__", "key", "token")

    def __init__(self, token: str) -> None:
        self.token = token
        self.key = os.urandom(16)
        _here[self.key] = self


class Left(NamedTuple):
    """A token that was left behind, by its key: the client may come to where it is, or copies."""

    key: bytes


_here: WeakValueDictionary[bytes, Given] = WeakValueDictionary()
"""The tokens of this process's clients, as long as one of them lives."""


class Passed(NamedTuple):
    """What stands in a pickle in the place of a token that a client was given."""

    key: bytes
    token: str | None
    """Only for a process that is just being started; see above."""


def pass_on(given: Given | Left | None) -> Passed | None:
    """What the pickle of a client holds of its token; None for one that looks it up."""
    if given is None:
        return None
    given = found(given)
    token = given.token if isinstance(given, Given) and _starts_a_process() else None
    return Passed(given.key, token)


def take(passed: Passed | None) -> Given | Left | None:
    """The token of a client that arrives, or that it was left behind; None if it had none."""
    if passed is None:
        return None
    if passed.token is not None:
        given = Given(passed.token)
        given.key = passed.key  # so that what comes later by its queues finds it
        return _here.setdefault(passed.key, given)
    return found(Left(passed.key))


def found(given: Given | Left) -> Given | Left:
    """The same, or the token in its place if one was left behind and is in this process now."""
    return given if isinstance(given, Given) else _here.get(given.key, given)


def token_of(given: Given | Left | None, address: Address) -> tokens.FoundToken | None:
    """The token that a client connects with: its own, or the one that is known here."""
    given = None if given is None else found(given)
    if isinstance(given, Given):
        return tokens.find(given.token, address)
    token = tokens.find(None, address)
    if token is None and given is not None:
        raise left_behind(address)
    return token


def left_behind(address: Address) -> AuthenticationError:
    """The error of a client whose token has not come along, and that finds none here."""
    return AuthenticationError(
        f"this client of {address} was unpickled without its token (one that Client() is given is "
        "not pickled), and no token for that address is known here",
        advice=f"set BGPY_TOKEN here, or run 'bgpy add {address}' once, or pickle the address "
        "alone and make a Client with the token here",
        address=address,
    )


def _starts_a_process() -> bool:
    """Whether `multiprocessing` pickles, in this thread, what a new process begins with."""
    context: Any = sys.modules.get("multiprocessing.context")
    return context is not None and context.get_spawning_popen() is not None
