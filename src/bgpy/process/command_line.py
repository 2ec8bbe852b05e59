"""The command line of a server's process, as `ps` shows it: it ends in the server's address.

The launcher gives the address as the last argument. Which port a server with port 0 took is known
only when it listens; so it is written there then, on Linux, where a process can change its own
command line. The argument before it ends in blanks for that: the new address takes as many of them
as it is longer, so that all stays within its place::

    python -P -c "exec(...)  # a bgpy server    " 127.0.0.1:0
    python -P -c "exec(...)  # a bgpy server" 127.0.0.1:54321
"""

from __future__ import annotations

import sys

from bgpy.system.strikes import is_strike


def with_address(arguments: bytes, address: str) -> bytes | None:
    """The arguments, each ended by a null, with `address` as the last; None if it has no room."""
    before, _, old = arguments.removesuffix(b"\0").rpartition(b"\0")
    new = address.encode()
    left = before.rstrip(b" ")
    blanks = len(before) - len(left) + len(old) - len(new)
    if not arguments.endswith(b"\0") or not left or blanks < 0:
        return None
    return b"%s%s\0%s\0" % (left, b" " * blanks, new)


def show_address(address: str) -> None:
    """Have the command line of this process end in `address`, where the system allows that."""
    if not sys.platform.startswith("linux"):
        return
    try:
        with open("/proc/self/stat", "rb") as file:
            start, end = map(int, file.read().rpartition(b")")[2].split()[45:47])
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            new = with_address(memory.read(end - start), address)
            if new is not None:
                memory.seek(start)
                memory.write(new)
    except (OSError, ValueError, OverflowError) as error:
        if is_strike(error):
            raise
        # A sandbox: then it ends in the address that was asked for.
