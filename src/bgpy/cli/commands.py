"""The commands of ``bgpy``; the checks that ``doctor`` makes are in `bgpy.api.doctor`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

from bgpy.cli.common import (
    FAILED,
    INTERRUPTED,
    Commands,
    TokenCommands,
    ask_for_token,
    at_address,
    exit_code,
    failures,
    leave,
    logs,
    parsed,
    port_argument,
    tls_option,
    token_option,
    usage,
    worded,
)
from bgpy.errors import BgpyError
from bgpy.version import __version__

KEPT = "the token that this account keeps for ADDRESS"

SILENCE = 2.0
"""Seconds after which `terminate` says what it waits for."""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(
    __version__, "-V", "--version", prog_name="bgpy", message="%(prog)s %(version)s"
)
def program() -> None:
    """Python processes that stay alive in the background, hold state and answer.

    An ADDRESS is host:port, [::1]:port or unix:/path; HOST PORT works as well.

    Exit codes: 0 done, 1 failed, 2 usage error, 3 no server runs there, 4 unreachable or
    not a bgpy server, 5 token rejected.
    """


@program.command(short_help="Run a server in the foreground.")
@click.argument("address", required=False)
@port_argument
@token_option("a new token, kept for this account while the server runs")
@logs
@click.option(
    "-i",
    "--init-file",
    type=click.Path(),
    help="Python file with init_task, exec_task and exit_task.",
)
@tls_option
@click.option("--certfile", type=click.Path(), help="A certificate of your own (PEM).")
@click.option(
    "--keyfile",
    type=click.Path(),
    help="The key of that certificate, if it is in another file (PEM).",
)
@click.option(
    "--no-plain-loopback",
    is_flag=True,
    help="Require TLS on loopback too if other machines can reach the server.",
)
def server(
    address: str | None,
    port: int | None,
    token: str | None,
    log_level: str,
    log_file: str | None,
    init_file: str | None,
    tls: bool | None,
    certfile: str | None,
    keyfile: str | None,
    no_plain_loopback: bool,
) -> None:
    """Run a server at ADDRESS in the foreground, logging to stderr.

    Port 0 takes a free port, and without ADDRESS the server makes its own Unix socket; the
    log names it. Ctrl-C ends the server: the current task finishes, then exit_task runs;
    a second Ctrl-C, at least 1 s later, ends the server at once, without exit_task. If exit_task
    raises, that is told, and the code is 1.

    The server ends with its terminal, as after one Ctrl-C: under SSH start it with nohup, or
    from Python with run_background().
    """
    with failures():
        import faulthandler
        import traceback

        from bgpy.api.server import Server, run_to_its_end
        from bgpy.codec.arrival import adopt_main
        from bgpy.codec.tracebacks import strip
        from bgpy.hosting.host import end_soon
        from bgpy.hosting.signals import as_after_login
        from bgpy.process.output import keep_from_stopping_tasks
        from bgpy.state.tokens import remove_environment
        from bgpy.tasks import init_file as init_files

        _refuse_file(address)
        with usage():
            started = Server(
                address,
                port,
                token,
                log_level,
                log_file,
                init_file,
                tls=tls,
                certfile=certfile,
                keyfile=keyfile,
                plain_loopback=not no_plain_loopback,
            )
        # As in the background: what tasks start shouldn't find the token.
        remove_environment()
        as_after_login()
        adopt_main()
        keep_from_stopping_tasks()
        if log_file is None:
            faulthandler.enable()  # a crash says where
        else:
            faulthandler.disable()  # it says so in the log, where others look
        try:
            failed = run_to_its_end(started)
        except (SystemExit, Exception) as error:
            if init_file is None or isinstance(error, BgpyError):
                raise
            strip(error)
            if error.__traceback__ is not None or isinstance(error, SyntaxError):
                traceback.print_exception(error)
            raise init_files.failure(init_file, error) from error
        end_soon(FAILED if failed else 0)
        if failed:
            _leave_after_failure(failed)


@program.command(short_help="Run a server's exit_task and end it.")
@at_address
@token_option(KEPT)
@logs
@tls_option
def terminate(
    address: str,
    port: int | None,
    token: str | None,
    log_level: str,
    log_file: str | None,
    tls: bool | None,
) -> None:
    """End the server at ADDRESS: run its exit_task, and wait until its process has exited.

    The running task, and what was queued before, run first. Ctrl-C stops waiting; the server still
    ends. If exit_task raises, that is told, the code is 1, and the server has ended.
    """
    with failures():
        from bgpy.api.client import Client

        with usage():
            client = Client(address, port, token, log_level, log_file, tls=tls)
        with client:
            with _saying_after_a_while(f"waiting for an answer from {client.address}"):
                client.ping()
            with _telling_of_the_end(client.address):
                client.terminate()


@program.group(name="token", cls=TokenCommands)
def token_group() -> None:
    """Show the tokens that this account knows."""


@token_group.command(short_help="Print the token for ADDRESS.")
@at_address
def show(address: str, port: int | None) -> None:
    """Print the token that this account knows for ADDRESS, for 'bgpy add' on another machine.

    Anyone who holds the token can run code as the server's user.
    """
    with failures():
        from bgpy.address import Address
        from bgpy.state import occupied, records, tokens

        place = parsed(address, port)
        known = tokens.known(place)
        dead = records.find_dead(place)
        if known is None and dead is not None:
            leave(
                f"no server runs at {place} now, and the token of the last one is void "
                f"({dead.fate()}): start it again ('bgpy doctor {place}' shows the last line of "
                "its log)",
                FAILED,
            )
        own = [Address(each.host, each.port) for each in occupied.on_port(place.port)]
        there = next((each for each in own if tokens.known(each) is not None), None)
        if known is None and there is not None:
            leave(
                f"this account knows no token for {place}, but runs a server at {there}: if that "
                f"is the one, 'bgpy token show {there}' prints its token",
                FAILED,
            )
        if known is None:
            leave(
                f"this account knows no token for {place}: check that it runs a server there. A "
                "server started with a token (BGPY_TOKEN, --token, token=) keeps no copy: use that",
                FAILED,
            )
        click.echo(known.token)
        if known.source is tokens.Source.KEPT:
            ended = "" if dead is None else f" (of the last one: {dead.fate()})"
            click.echo(
                f"bgpy: 'bgpy add' kept this token, and no server of this account on this machine "
                f"runs at {place} now{ended}",
                err=True,
            )


@program.command(short_help="Keep the token of a server on another machine.")
@at_address
@tls_option
def add(address: str, port: int | None, tls: bool | None) -> None:
    """Ask for the token of the server at ADDRESS, try it, and keep it for this account.

    From then on clients of this account need no token for that address. If the input is not
    a terminal, its first line is the token:

        ssh HOST bgpy token show ADDRESS | bgpy add ADDRESS
    """
    with failures():
        from bgpy.api.client import Client
        from bgpy.state import tokens

        place = parsed(address, port)
        given = ask_for_token()
        if not given:
            leave("the input holds no token: did the command before the pipe fail?", FAILED)
        with usage(), Client(*place, given, tls=tls) as client:
            client.ping()
        tokens.keep_token(place, given)
        click.echo(f"kept the token of {place}", err=True)


@program.command(short_help="Diagnose why a server can't be reached.")
@at_address
@token_option(KEPT)
@tls_option
def doctor(address: str, port: int | None, token: str | None, tls: bool | None) -> None:
    """Diagnose why the server at ADDRESS can't be reached, and say what to do about it."""
    with failures():
        from bgpy.api.doctor import diagnose

        place = parsed(address, port)
        with usage():
            findings = diagnose(place, token, tls)
        for name, text in findings.known:
            click.echo(f"{name:<9} {text}")
        if findings.error is not None:
            # What to do is said once: by these findings, or else by the error.
            problem = findings.error.problem if findings.advice else worded(findings.error)
            click.echo(f"problem   {problem}")
            for advice in findings.advice:
                click.echo(f"          {advice}")
            sys.exit(exit_code(findings.error))


@program.command()
def version() -> None:
    """Print the version."""
    click.echo(f"bgpy {__version__}")


def _leave_after_failure(raised: str) -> NoReturn:
    """Say what `exit_task` raised, and leave with the code for that."""
    leave(f"exit_task raised {raised}; the server has ended all the same", FAILED)


def _refuse_file(address: str | None) -> None:
    """Raise a usage error for an init file that was given without its option."""
    if address is not None and (address.endswith(".py") or os.path.isfile(address)):
        raise click.UsageError(
            f"{address!r} is a file, not an address; to run it: 'bgpy server [ADDRESS] -i "
            f"{address}'"
        )


@contextmanager
def _saying_after_a_while(text: str) -> Iterator[None]:
    """Say what is waited for, if that takes long."""
    import threading

    timer = threading.Timer(SILENCE, click.echo, (f"bgpy: {text}",), {"err": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _telling_of_the_end(address: str) -> Iterator[None]:
    """Say what is waited for while a server ends, and what became of it when that fails."""
    text = (
        f"waiting for the server at {address}: it ends when its running task, what is "
        "queued and exit_task have run (Ctrl-C stops waiting; the server still ends)"
    )
    try:
        with _saying_after_a_while(text):
            yield
    except KeyboardInterrupt:
        leave(
            f"interrupted; the server at {address} ends all the same, if it got the request: "
            f"'bgpy doctor {address}' tells",
            INTERRUPTED,
        )
    except Exception as error:
        if isinstance(error, BgpyError) and not error.remote:
            raise
        from bgpy.codec.tracebacks import remote_text

        click.echo(remote_text(error).rstrip(), err=True)
        described = worded(error) if isinstance(error, BgpyError) else repr(error)
        _leave_after_failure(described)
