"""Shared by all commands: the address and token options, error output and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from bgpy.config import ENV_HOME, LOG_LEVEL
from bgpy.errors import AuthenticationError, BgpyError, ConnectError, NotRunning

if TYPE_CHECKING:
    from bgpy.address import Address

FAILED, NOT_RUNNING, UNREACHABLE, REFUSED, INTERRUPTED = 1, 3, 4, 5, 130

LEVELS = click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], case_sensitive=False)

Command = Callable[..., None]

TO_START = (
    "'bgpy server ADDRESS' runs a server in the foreground; in the background Python's "
    "Server(ADDRESS).run_background() starts one"
)
TO_TERMINATE = "'bgpy terminate ADDRESS' ends a server"
TO_RESTART = (
    "'bgpy terminate ADDRESS' ends a server; to start it again, run what started it, which 'bgpy "
    "doctor ADDRESS' tells then"
)
TO_ASK = (
    "'bgpy doctor ADDRESS' tells whether a server answers, what it does, and how the last one ended"
)
TO_FIND = "the state folder has a folder for each server, {servers}; " + TO_ASK
TO_PLACE = "host and port are the ADDRESS, as in 127.0.0.1:54321"
TO_CALL = "calls are made from Python: Client(ADDRESS).call(...)"
TO_HELP = "'bgpy --help' lists the commands, 'bgpy COMMAND --help' tells what one takes"
TO_SHOW = (
    "'bgpy token show ADDRESS' prints the token for one address; those that 'bgpy add' kept are in "
    "{tokens}, one file for each address"
)
TO_KEEP = "'bgpy add ADDRESS' asks for the token of a server on another machine, and keeps it"
TO_FORGET = (
    "a token that 'bgpy add' kept is forgotten by removing its file in {tokens}; one that a server "
    "made is void when that server ends"
)
TO_MAKE = "a server that is given no token makes one; in Python token_create() does"
TO_KILL = (
    "'bgpy terminate' waits for exit_task; to end a server at once, without it, 'bgpy doctor "
    "ADDRESS' tells the process to kill"
)
TO_WAIT = (
    "'bgpy terminate' waits until the server has ended; Ctrl-C stops waiting, and the server still "
    "ends"
)
TO_LOG = "'bgpy server' and 'bgpy terminate' log more with -l DEBUG"
TO_TYPE = (
    "no token belongs on a command line, where other users can see it: it is asked for, or read "
    "from standard input"
)

ELSEWHERE = {
    **dict.fromkeys(("start", "run", "serve", "launch"), TO_START),
    **dict.fromkeys(("stop", "kill", "end", "exit", "quit", "shutdown"), TO_TERMINATE),
    **dict.fromkeys(("restart", "reload"), TO_RESTART),
    **dict.fromkeys(("status", "ping", "check", "info", "log", "logs"), TO_ASK),
    **dict.fromkeys(("ps", "list", "ls"), TO_FIND),
    **dict.fromkeys(("call", "execute", "exec", "initialize", "init", "connect"), TO_CALL),
    **dict.fromkeys(("remove", "rm", "forget", "delete"), TO_FORGET),
    **dict.fromkeys(("show", "tokens"), TO_SHOW),
    "help": TO_HELP,
}
"""What does what a command would do that bgpy doesn't have."""

OF_TOKENS = {
    **dict.fromkeys(("list", "ls", "print", "get"), TO_SHOW),
    **dict.fromkeys(("add", "keep", "set", "import"), TO_KEEP),
    **dict.fromkeys(("remove", "rm", "forget", "delete", "revoke"), TO_FORGET),
    **dict.fromkeys(("create", "new", "make", "generate"), TO_MAKE),
}
"""The same, of `bgpy token`."""

OTHERWISE = {
    **dict.fromkeys(("-d", "-b", "--background", "--daemon", "--daemonize", "--detach"), TO_START),
    **dict.fromkeys(("-p", "--port", "--host", "--bind", "--address"), TO_PLACE),
    **dict.fromkeys(("--force", "--kill", "-9"), TO_KILL),
    **dict.fromkeys(("--timeout", "--wait", "--no-wait"), TO_WAIT),
    **dict.fromkeys(("-v", "--verbose", "--debug"), TO_LOG),
    **dict.fromkeys(("-t", "--token"), TO_TYPE),
}
"""The same, of options."""


class Commands(click.Group):
    """The commands; a word that is none of them is answered with the one that does it."""

    elsewhere = ELSEWHERE
    """What does what another word may mean."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As that of click, whose error doesn't know what a word may mean."""
        if args and args[0] in self.elsewhere and self.get_command(ctx, args[0]) is None:
            way_out = self.elsewhere[args[0]]
            for name in ("servers", "tokens"):
                way_out = way_out.replace(f"{{{name}}}", _folder(name))
            ctx.fail(f"No such command {args[0]!r}: {way_out}.")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """As that of click; an option that no command has is answered as well."""
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            if (way_out := OTHERWISE.get(error.option_name)) is None:
                raise
            text = f"No such option {error.option_name!r}: {way_out}."
            raise click.UsageError(text, error.ctx) from None


class TokenCommands(Commands):
    """Those of `bgpy token`."""

    elsewhere = OF_TOKENS


def _folder(name: str) -> str:
    """That one of the folders of the state, or the variable that names where it is."""
    from bgpy.state import folders

    try:
        return folders.below_machine(name)
    except BgpyError:
        return f"below {ENV_HOME}"


def _ask(context: click.Context, option: click.Parameter, asked: bool) -> str | None:
    """Ask for the token at a prompt: on the command line, other users could see it."""
    return ask_for_token() if asked else None


def ask_for_token() -> str:
    """Read the token: hidden input at a terminal, else the first line of standard input."""
    if sys.stdin is None or sys.stdin.isatty():
        try:
            return str(click.prompt("Token", hide_input=True, err=True))
        except click.Abort:  # Ctrl-C, or the end of the input
            click.echo(err=True)
            leave("interrupted", INTERRUPTED)
    return sys.stdin.readline().strip()


def token_option(without: str) -> Callable[[Command], Command]:
    """Add ``--token``; `without` says which token is used if BGPY_TOKEN isn't set either."""
    return click.option(
        "-t",
        "--token",
        is_flag=True,
        callback=_ask,
        help=f"Prompt for the token. Default: BGPY_TOKEN if it is set, else {without}.",
    )


tls_option = click.option(
    "--tls",
    is_flag=True,
    default=None,
    help="Use TLS on loopback too; connections to other machines always use TLS.",
)


def at_address(command: Command) -> Command:
    """Take ``ADDRESS``, or the old pair of host and port, as `address` and `port`."""
    return click.argument("address")(port_argument(command))


def port_argument(command: Command) -> Command:
    """Take the port of the old pair."""
    return click.argument("port", type=click.IntRange(0, 65535), required=False)(command)


def logs(command: Command) -> Command:
    """Add ``--log-level`` and ``--log-file``."""
    level = click.option(
        "-l",
        "--log-level",
        type=LEVELS,
        default=LOG_LEVEL,
        show_default=True,
        help="Log bgpy's own messages of this level and above.",
    )(command)
    return click.option(
        "-f",
        "--log-file",
        type=click.Path(dir_okay=False),
        help="Log to this file as well; the first message makes it.",
    )(level)


def parsed(address: str, port: int | None) -> Address:
    """The address that the command's arguments name."""
    from bgpy.address import parse

    with usage():
        return parse(address, port)


@contextmanager
def usage() -> Iterator[None]:
    """Report an invalid address or token as a usage error."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(worded(error)) from error


@contextmanager
def failures() -> Iterator[None]:
    """Turn any exception into one line on stderr and the matching exit code."""
    try:
        yield
    except (click.ClickException, BrokenPipeError):
        raise  # the latter is of standard output: those of sockets have become errors of bgpy
    except KeyboardInterrupt:
        leave("interrupted", INTERRUPTED)
    except BgpyError as error:
        leave(error, exit_code(error))
    except Exception as error:
        leave(f"{type(error).__name__}: {error}", FAILED)


def exit_code(error: BgpyError) -> int:
    """The exit code that tells `error` from others."""
    if isinstance(error, NotRunning):
        return NOT_RUNNING
    if isinstance(error, ConnectError):
        return UNREACHABLE
    return REFUSED if isinstance(error, AuthenticationError) else FAILED


def leave(reason: object, code: int) -> NoReturn:
    """Print the reason on stderr, in one line, and exit with `code`."""
    click.echo(f"bgpy: {' '.join(worded(reason).split())}", err=True)
    sys.exit(code)


def worded(reason: object) -> str:
    """What went wrong and what to do, in the words of the command line."""
    return reason.text("cli") if isinstance(reason, BgpyError) else str(reason)
