"""The command line ``bgpy``, and its exit codes.

::

    0 done   1 failed, not started, task raised   2 usage   3 no server runs there
    4 unreachable, or not a bgpy server           5 token rejected

Each command imports what it needs when it is called, so that the others start quickly.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line of this process and exit with its code.

    Where nobody reads its output any more (``| head -1``) it ends as other programs do, by SIGPIPE.
    """
    import sys

    from click.utils import PacifyFlushWrapper

    from bgpy.cli.commands import program

    try:
        program(prog_name="bgpy")
    except SystemExit:
        # So click keeps the interpreter from complaining, which writes what is left at its end.
        if sys.platform != "win32" and type(sys.stdout) is PacifyFlushWrapper:
            import os
            import signal

            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGPIPE)
        raise
