"""How many descriptors this process may have: the soft limit, raised as far as it is needed.

The limit is raised when connections come near it, not before, since what tasks start
inherits it: a program that closes every descriptor up to its limit, or that calls
``select`` (which knows 1,024), sees another world only where a server has many clients.
It is never raised beyond the hard limit, and not lowered again.
"""

from __future__ import annotations

import os
import sys

RESERVE = 128
"""Descriptors that are kept for others than the server's clients, if the limit allows."""

if sys.platform == "win32":

    def most() -> int:
        """How many this process can have at best."""
        return 2**31

    def is_scarce(descriptor: int) -> bool:
        """Whether a further connection would take one of those that are kept."""
        return False

else:
    import resource

    _MAC = 10240
    """The most that macOS gives, whatever its hard limit says (OPEN_MAX)."""

    def most() -> int:
        """How many this process can have at best."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if sys.platform == "darwin":
            return _MAC if hard == resource.RLIM_INFINITY else min(hard, _MAC)
        return 2**31 if hard == resource.RLIM_INFINITY else hard

    def is_scarce(descriptor: int) -> bool:
        """Whether a further connection would take one of those that are kept.

        `descriptor` is any open one: a copy of it gets the lowest number that is free, so
        all below that number are in use. Raises the soft limit if that helps.
        """
        try:
            lowest = os.dup(descriptor)
        except OSError:
            lowest = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        else:
            os.close(lowest)
        while True:
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            if soft == resource.RLIM_INFINITY or lowest < soft - reserved(soft):
                return False
            if not _raise(soft):
                return True

    def _raise(soft: int) -> bool:
        """Double the soft limit, up to the hard one; whether it is higher now."""
        wanted = min(2 * soft, most())
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            return False
        return wanted > soft


def reserved(limit: int) -> int:
    """How many of `limit` descriptors are kept for the tasks."""
    return min(RESERVE, limit // 4)


def for_clients(asked: int) -> int:
    """How many of `asked` connections this process can have."""
    real = most()
    return max(1, min(asked, real - reserved(real)))
