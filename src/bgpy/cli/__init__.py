"""The command line: words, and exit codes.

::

    0 done   1 failed, not started, task raised   2 usage   3 nothing runs there
    4 unreachable, or not a bgpy server           5 token refused

Commands are imported when they are called, so that each pays for itself alone.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process and exit with its code."""
    from bgpy.cli.commands import program

    program(prog_name="bgpy")
