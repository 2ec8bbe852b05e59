"""Runs one server in this process: takes its port, writes its record, handles its signals."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from bgpy import address
from bgpy.codec.modules import Catalogue
from bgpy.config import Options
from bgpy.encryption import Encryption, check_token, encryption
from bgpy.engines.inline import InlineEngine
from bgpy.errors import ArgumentError, StartupError
from bgpy.hosting import signals
from bgpy.hosting.shutdown import Shutdown
from bgpy.process.readiness import script
from bgpy.serving.core import Events, ServerCore
from bgpy.serving.io import listener, unix
from bgpy.state import claims, folders, occupied, records, sockets
from bgpy.system.exiting import leave
from bgpy.system.strikes import is_strike
from bgpy.tasks import init_file
from bgpy.version import __version__

log = logging.getLogger("bgpy.server")

Chores = Callable[[], None]

UNREADY = "ended before it was ready"

LAST_THREADS = 5.0
"""Seconds that the user's threads may keep the process alive after its server has ended."""


class Host:
    """A server that listens; `serve` runs it to its end.

    Making it claims the address and binds the port. Raises `StartupError` if either fails,
    and names the server of this account that is in the way.
    """

    def __init__(self, options: Options, token: str) -> None:
        self._options = options
        self._token = token
        self.log_file = options.log_file
        self.script = script()
        """The script that has started it, for its record."""
        self.exit_failure = ""
        """What `exit_task` raised, in words, once the server has ended; empty if nothing."""
        if options.init_file is not None:
            init_file.check_exists(options.init_file)
        asked = address.parse(options.host, options.port)
        place = listener.locate(asked)
        self._encryption = self._fitting(place)
        with ExitStack() as undo:
            # Before the port: a server that finds the port in use can then tell which server
            # has it. Port 0 stands for a free one, which is claimed when it is known.
            if named := place.path is not None or place.port != 0:
                self.claim = claims.claim(place)
                undo.callback(self.claim.release)
            self._listener = self._listen(asked, place)
            undo.callback(self._listener.close)
            self.address = self._listener.address
            if not named:
                self.claim = claims.claim(self.address)
                undo.callback(self.claim.release)
            _tidy(place)
            records.prune()
            self._secure()
            undo.pop_all()

    def _fitting(self, place: address.Address) -> Encryption:
        """Whether connections are encrypted; looked at again, since `place` may be of a name."""
        options = self._options
        try:
            check_token(place, self._token)
            decided = encryption(
                place,
                options.tls,
                certificate=options.certfile is not None,
                plain_loopback=options.plain_loopback,
            )
        except ArgumentError as error:
            raise StartupError(error.problem, advice=error.advice, address=place) from error
        assert decided is not None, "the name has been looked up"
        return decided

    def _listen(self, asked: address.Address, place: address.Address) -> listener.Listener:
        """Listen there; the error names the server of this account that is in the way."""
        try:
            return listener.listen(asked, place)
        except StartupError as error:
            in_use = place.path is not None or listener.is_in_use(error.__cause__)
            own = occupied.by_own(place, self.claim.folder) if in_use else None
            if own is None:
                raise
            raise own from error

    def _secure(self) -> None:
        """Speak TLS where that was decided."""
        if self._encryption is Encryption.NONE:
            return
        # Imported here: a server without TLS need not load it.
        from bgpy.tls import certificates, contexts

        certfile = self._options.certfile
        if certfile is None:
            folder = folders.below_machine()
            folders.make_private(folder)
            certfile = certificates.own(folder)
        identity = contexts.identity(certfile, self._options.keyfile)
        plain_loopback = self._encryption is Encryption.BEYOND_LOOPBACK
        listener.speak_tls(self._listener, identity, plain_loopback)

    def serve(self, ready: Callable[[], None], chores: Chores | None = None) -> None:
        """Serve in this thread until the server ends; `ready` is called when it is ready.

        `chores` is called from time to time while the server is busy; without it the server's
        folder is made anew then where it was removed. Raises what an init file and its
        `init_task` raise.
        """
        options = self._options
        path = options.init_file
        load = None if path is None else partial(init_file.load, path)
        catalogue = Catalogue()
        engine = InlineEngine(catalogue, load)
        kept = signals.Kept()
        begun: list[bool] = []
        offered: list[bool] = []

        def closing() -> None:
            shutdown.closing = True
            kept.hold_back()

        def signalled(number: int) -> None:
            shutdown.seen(number)

        def initialized() -> None:
            if catalogue.stamps:
                self._tell_modules(replace(record, modules=catalogue.stamps), token)
            offered.append(True)
            ready()
            begun.append(True)

        def release() -> None:
            self.exit_failure = server.exit_failure
            if begun:
                ended = self._end_in_order(shutdown.asked_by)
            elif offered:
                ended = records.ending(UNREADY, "the program that started it had exited by then")
            elif server.start_failure:
                words = " ".join(server.start_failure.split())
                ended = records.ending("failed to start", words)
            else:
                ended = records.ending(UNREADY, shutdown.asked_by)
            self.claim.release(ended)

        events = Events(
            initialized,
            kept.put_back,
            closing,
            release,
            self._in_child,
            chores or self._tend,
            signalled,
        )
        in_main = threading.current_thread() is threading.main_thread()
        pid = os.getpid() if in_main else 0
        try:
            server = ServerCore(
                self._listener,
                self._token,
                options.limits,
                engine,
                catalogue,
                load is not None,
                events,
                pid,
            )
            shutdown = Shutdown(server, self._drop)
            record, token = self._record(server), self._token if options.keep_token else None
            self.claim.write(record, token)
            with kept.handling(shutdown.handle, shutdown.hang_up, server.wakeup_fd):
                server.serve()
            log.info("the server has ended")
        finally:
            self.close()

    def _tell_modules(self, record: records.Record, token: str | None) -> None:
        """Write the record once more, with the modules that the tasks use.

        By now `init_task` has run. What it made is worth more than a warning about edited files.
        """
        try:
            self.claim.write(record, token)
        except OSError as error:  # StartupError is one: the disk is full, or the folder removed
            if is_strike(error):
                raise
            log.warning(
                "the server's record can't be written again, so nobody will be warned when its "
                "modules are edited: %s",
                error,
            )

    def _end_in_order(self, why: str) -> str:
        """How this server, whose tasks have all run, ends now since `why`."""
        if not self.exit_failure:
            return records.ending(records.IN_ORDER, why)
        words = " ".join(self.exit_failure.split())
        how = records.ending("ended with a failed exit_task", why)
        return f"{how}; exit_task raised {words}"

    def close(self) -> None:
        """Close the port and remove the record; `serve` always does this at its end."""
        self._listener.close()
        self.claim.release()

    def _drop(self, why: str) -> None:
        """Remove the server's files: this process exits now, since `why`."""
        self.claim.drop(records.ending("ended at once", why))
        self._listener.close()

    def renew_folder(self) -> None:
        """Make the server's folder anew where it was removed; raises `OSError` as `Claim.renew`."""
        if self.claim.renew():
            log.warning("the server's folder had been removed: it was made anew")

    def _tend(self) -> None:
        try:
            self.renew_folder()
        except OSError as error:  # in the standby's thread: none of a signal handler's
            log.debug("the server's folder can't be made anew: %s", error)

    def _in_child(self) -> None:
        self.claim.close_in_child()
        signals.restore_in_child()

    def _record(self, server: ServerCore) -> records.Record:
        return records.Record.of_this_process(
            self.address,
            server.welcome.incarnation,
            __version__,
            self.log_file and os.path.abspath(self.log_file),
            self._options.init_file and os.path.abspath(self._options.init_file),
            self.script,
        )


def _tidy(place: address.Address) -> None:
    """Remove sockets that dead servers without an address have left beside this one."""
    if place.path is None:
        return
    folder = os.path.dirname(place.path)

    def lives(path: str) -> bool:
        there = address.Address(address.UNIX + path, 0)
        return there == place or records.find(there) is not None

    if folder == sockets.socket_folder(address.LONGEST_PATH):
        unix.remove_stale(folder, lives)


def end_soon(code: int = 0) -> None:
    """Make this process exit with `code` within `LAST_THREADS` seconds, whatever its threads do.

    Called when a server has ended in a process that runs nothing else.
    """
    watchdog = threading.Timer(LAST_THREADS, leave, (code,))
    watchdog.daemon = True
    watchdog.start()
