"""The commands, but for what ``doctor`` finds out."""

from __future__ import annotations

import sys

import click

from bgpy.cli.common import (
    FAILED,
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
from bgpy.errors import BgpyError, StartupError
from bgpy.version import __version__

KEPT = "the one that this account keeps for ADDRESS"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bgpy", message="%(prog)s %(version)s")
def program() -> None:
    """Python processes that stay alive in the background, hold state and answer.

    An ADDRESS is host:port, [::1]:port or unix:/path; HOST PORT works as well.

    Exit codes: 0 done, 1 failed, 2 usage, 3 nothing runs there, 4 unreachable or not a
    bgpy server, 5 token refused.
    """


@program.command(short_help="Run a server in the foreground.")
@click.argument("address", required=False)
@port_argument
@token_option("a new one is made, and kept for this account while the server runs")
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
    help="The key of that certificate, where it isn't in the same file.",
)
@click.option(
    "--no-plain-loopback",
    is_flag=True,
    help="Take no plain connections from this machine, where others can reach the server.",
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

    Port 0 takes a free port, and without ADDRESS the server gets a Unix socket of its own;
    the log tells which. Ctrl-C ends the server: the task that runs finishes, then
    exit_task runs; a second Ctrl-C ends it at once.
    """
    with failures():
        from bgpy.api.server import Server
        from bgpy.hosting.host import end_soon
        from bgpy.state.tokens import remove_environment

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
        try:
            started.run()
        except (SystemExit, Exception) as error:
            if init_file is None or isinstance(error, BgpyError):
                raise
            raise StartupError(f"the init file failed: {_described(error)}") from error
        end_soon()


@program.command(short_help="End a server, with its exit_task.")
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
    """End the server at ADDRESS: run its exit_task, and wait until the server is gone."""
    with failures():
        from bgpy.api.client import Client

        with usage():
            client = Client(address, port, token, log_level, log_file, tls=tls)
        with client:
            client.terminate()


@program.group(name="token")
def token_group() -> None:
    """The tokens that this account knows."""


@token_group.command()
@at_address
def show(address: str, port: int | None) -> None:
    """Print the token that this account knows for ADDRESS, for 'bgpy add' on another machine.

    Whoever holds the token can run code as the server's user.
    """
    with failures():
        from bgpy.state import tokens

        place = parsed(address, port)
        known = tokens.known(place)
        if known is None:
            leave(
                f"no token is known here for {place}. Does a server run there, under this account? "
                "One that was given a token (BGPY_TOKEN, --token, token=) keeps none: use that one",
                FAILED,
            )
        click.echo(known.token)


@program.command(short_help="Keep the token of a server elsewhere.")
@at_address
@tls_option
def add(address: str, port: int | None, tls: bool | None) -> None:
    """Ask for the token of the server at ADDRESS, try it, and keep it for this account.

    From then on clients of this account need no token for that address. Where the input
    is no terminal, the token is its first line:

        ssh HOST bgpy token show ADDRESS | bgpy add ADDRESS
    """
    with failures():
        from bgpy.api.client import Client
        from bgpy.state import tokens

        place = parsed(address, port)
        given = ask_for_token()
        if not given:
            leave("no token came in: did the command before the pipe fail?", FAILED)
        with usage(), Client(*place, given, tls=tls) as client:
            client.ping()
        tokens.keep_token(place, given)
        click.echo(f"the token of {place} is kept", err=True)


@program.command(short_help="Find out why a server can't be reached.")
@at_address
@token_option(KEPT)
@tls_option
def doctor(address: str, port: int | None, token: str | None, tls: bool | None) -> None:
    """Find out why the server at ADDRESS can't be reached, and what to do about that."""
    with failures():
        from bgpy.api.doctor import diagnose

        place = parsed(address, port)
        with usage():
            findings = diagnose(place, token, tls)
        for name, text in findings.known:
            click.echo(f"{name:<9} {text}")
        if findings.error is not None:
            click.echo(f"problem   {worded(findings.error)}")
            for advice in findings.advice:
                click.echo(f"          {advice}")
            sys.exit(exit_code(findings.error))


@program.command()
def version() -> None:
    """Print the version."""
    click.echo(f"bgpy {__version__}")


def _described(error: BaseException) -> str:
    """An exception in one line, with the place that raised it."""
    import traceback

    text = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SyntaxError) and error.filename:
        return f"{text} ({error.filename}, line {error.lineno})"
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{text} ({place.filename}, line {place.lineno})"
