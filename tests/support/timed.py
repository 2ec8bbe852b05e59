"""Calls with a time limit, as the parts of a client are given them."""

from __future__ import annotations

from bgpy.calling.conversation import Call


def timed_call(seconds: float) -> Call:
    """A call that may take so long."""
    call = Call()
    call.timeout = seconds
    return call
