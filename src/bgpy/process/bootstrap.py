"""The first lines of a server's process, run before bgpy can be imported there.

::

    launcher                 starter                        server
       | Popen, settings  ──►  | reads the settings
       |                       | fork  ──────────────────────► | installs sys.path
       | ◄───────────────────────────────────────── started(pid)
       |                       | waits for the server           | imports and runs the module
       | ◄─────────────────────────────────────────────── ready
       |                       X killed by the server           |
       | reaps the starter                                      | stays, a child of init

The server is no child of the launcher: it leaves no zombie there. Until it is ready the
starter stands between the two, since only a parent learns how a process died, and tells
the launcher with ``died``. Where there is no fork, starter and server are one.

Ignored and blocked signals are inherited, and would be by all that tasks start. The server's are
those that Python has after login: its own exceptions apart, none is ignored or blocked. The
starter needs that too: where SIGCHLD is ignored nobody learns how a child has ended.

If the launcher dies meanwhile, the settings are cut short or a write to the pipe fails,
and the server ends: it is ready or gone.
"""

from __future__ import annotations

LINE_MAGIC = b"\0bgpy\0"
"""Starts each line meant for the launcher; what else is printed into the pipe is not."""

TEXT = r"""
def _bootstrap():
    import _signal, marshal, os, sys

    def tell(*message):
        line = b"\n\0bgpy\0" + marshal.dumps(message).hex().encode() + b"\n"
        while line:
            line = line[os.write(pipe, line):]

    settings = marshal.load(sys.stdin.buffer)
    pipe = os.dup(1)
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    starter = 0
    if hasattr(os, "fork"):
        for number in _signal.valid_signals() - {_signal.SIGPIPE, _signal.SIGXFSZ}:
            if _signal.getsignal(number) == _signal.SIG_IGN:
                _signal.signal(number, _signal.SIG_DFL)
        if _signal.getsignal(_signal.SIGINT) == _signal.SIG_DFL:
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        starter = os.getpid()
        server = os.fork()
        if server:
            try:
                status = os.waitpid(server, 0)[1]
                tell("died", os.waitstatus_to_exitcode(status))
            finally:
                os._exit(0)
    os.environ.pop("BGPY_TOKEN", None)
    tell("started", os.getpid())
    del sys.argv[1:]
    sys.path[:] = settings["path"]
    try:
        from bgpy.process.readiness import run
    except BaseException as error:
        tell("failed", f"bgpy can't be imported in its own process: {error!r}", {})
        raise
    run(settings, pipe, starter)

_bootstrap()
"""
"""The program. It knows nothing but builtins until ``sys.path`` is installed."""

ROOM = 24
"""Blanks that the address can grow by, where it is known better once the server listens."""

COMMAND = (
    "exec(__import__('marshal').load(__import__('sys').stdin.buffer))  # a bgpy server" + " " * ROOM
)
"""For ``python -P -c``: takes the program from the pipe, so that `ps` shows one line,
and a task's ``__main__`` holds nothing of it but ``_bootstrap``. The address follows as an argument
of its own, so that one server can be told from others."""
