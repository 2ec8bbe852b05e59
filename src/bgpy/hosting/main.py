"""The program of a background server: what its process runs once bgpy can be imported."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import time
import traceback

from bgpy.codec.arrival import adopt_main
from bgpy.codec.tracebacks import shows_users, strip
from bgpy.errors import StartupError
from bgpy.hosting.host import Host, end_soon
from bgpy.process import logs
from bgpy.process.command_line import show_address
from bgpy.process.readiness import Ready, Settings, options_of
from bgpy.state import reports
from bgpy.tasks import init_file

log = logging.getLogger("bgpy.server")


def main(settings: Settings, ready: Ready) -> None:
    """Serve until the server ends; report each step of the start to the launcher by `ready`."""
    options = options_of(settings)
    adopt_main()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=ready.close_in_child)
    try:
        server = Host(options, settings["token"])
        server.script = settings["script"]
        log_file = server.log_file = os.path.abspath(options.log_file or server.claim.folder.log)
        fd = logs.open_log(log_file)
    except StartupError as error:
        ready.failed(error)
        sys.exit(1)
    reports.begin(fd)
    ready.logs_to(log_file)
    logs.redirect(fd)
    _report_crashes(fd)
    logs.configure_logging(options.log_level)
    rotation = logs.Rotation(log_file, fd, options.limits.log_size)

    def tell() -> None:
        show_address(str(server.address))
        log.info("listening on %s", server.address)
        ready.ready(*server.address, log_file)

    failed = ""

    def tend_log() -> None:
        nonlocal failed
        try:
            server.renew_folder()
            if not rotation.due(time.monotonic()):
                return
            rotation.renew()
            failed = ""
        except OSError as error:
            if str(error) != failed:  # it is tried again each second
                failed = str(error)
                log.warning("the log or the server's folder can't be made anew: %s", error)

    try:
        server.serve(tell, tend_log)
    except BrokenPipeError:
        log.error("the program that started this server exited before the server was ready")
        sys.exit(1)
    except BaseException as error:
        if not ready.waited_for:
            end_soon()
            raise
        if isinstance(error, StartupError) or options.init_file is not None:
            strip(error)
        if not isinstance(error, StartupError) or shows_users(error):
            traceback.print_exc()
        ready.failed(_as_startup_error(options.init_file, error))
        sys.exit(1)
    code = 1 if server.exit_failure else 0
    end_soon(code)
    sys.exit(code)


def _report_crashes(fd: int) -> None:
    """Have a crash of this process (SIGSEGV and the like) write the threads' stacks to the log.

    Not one of forked children: it would be taken for the server's own. Where the user has it
    already (``PYTHONFAULTHANDLER``) it stays as it is, and writes there too.
    """
    if faulthandler.is_enabled():
        return
    faulthandler.enable(fd)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=faulthandler.disable)


def _as_startup_error(path: str | None, error: BaseException) -> StartupError:
    """A failure of the start, of the init file at `path` if there is one, for the launcher."""
    if isinstance(error, StartupError):
        return error
    if path is not None:
        return init_file.failure(path, error)
    return StartupError(traceback.format_exception_only(error)[-1].strip())
