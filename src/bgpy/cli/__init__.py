"""The command line ``bgpy``, and its exit codes.

::

    0 done   1 failed, not started, task raised   2 usage   3 no server runs there
    4 unreachable, or not a bgpy server           5 token rejected

Each command imports what it needs when it is called, so that the others start quickly.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process and exit with its code."""
    from bgpy.cli.commands import program

    program(prog_name="bgpy")
