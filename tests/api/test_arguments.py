"""Every argument takes all that says the same, and a wrong one is named before anything runs."""

from __future__ import annotations

import enum
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import bgpy
from bgpy import Client, Limits, Server
from bgpy.config import Options, checked_level

TOKEN = "t" * 40


class Words(enum.StrEnum):
    HOST = "127.0.0.1"
    TOKEN = TOKEN
    DEBUG = "debug"


class OldWords(str, enum.Enum):  # noqa: UP042 -- the older way, whose str() is "OldWords.DEBUG"
    HOST = "localhost"
    DEBUG = "DEBUG"


class Numbers(enum.IntEnum):
    FREE = 0
    SIZE = 4096


class Level(enum.Enum):
    DEBUG = "DEBUG"


class Seconds(float):
    """A float of a kind of its own, as numpy has them."""


class Name:
    """A path that is no string."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> bytes:
        return os.fsencode(self._path)


def kept(wanted: str) -> Callable[..., Any]:
    """A client's method, called with one argument; no server is needed for it to refuse."""
    return lambda **given: getattr(Client("127.0.0.1", 1, TOKEN), wanted)(**given)


def task(*args: object) -> None:
    """A function that can be each of the three."""


NO_PATHS: list[object] = [3, 1.5, object(), ["a"], True]
NO_TEXTS: list[object] = [3, 1.5, b"text", object(), Path("text")]
NO_FLAGS: list[object] = ["yes", 1, 0, object()]
NO_SECONDS: list[object] = ["5", True, object(), b"5", [5]]
NO_INTEGERS: list[object] = ["54321", 1.0, True, object(), b"1"]
NO_FUNCTIONS: list[object] = [3, "task", None, object()]
NO_DICTS: list[object] = ["text", 5, [("a", 1)], {1}, object()]

server = partial(Server, "127.0.0.1", 0)
client = partial(Client, "127.0.0.1", 1)
WRONG: list[tuple[Callable[..., object], Mapping[str, object], str, list[object]]] = [
    (Server, {}, "host", NO_TEXTS),
    (Server, {"host": "127.0.0.1"}, "port", NO_INTEGERS),
    (Server, {}, "port", [False, "0", 0.0]),
    (server, {}, "token", NO_TEXTS),
    (server, {}, "log_level", [None, 1.5, b"INFO", True, ["INFO"]]),
    (server, {}, "log_file", NO_PATHS),
    (server, {}, "init_file", NO_PATHS),
    (server, {}, "certfile", NO_PATHS),
    (server, {"certfile": "c"}, "keyfile", NO_PATHS),
    (server, {}, "limits", [{}, 5, "big", Limits, object()]),
    (server, {}, "tls", NO_FLAGS),
    (server, {}, "plain_loopback", [None, *NO_FLAGS]),
    (Client, {}, "host", [None, *NO_TEXTS]),
    (Client, {"host": "127.0.0.1"}, "port", NO_INTEGERS),
    (client, {}, "token", NO_TEXTS),
    (client, {}, "log_level", [None, 1.5, b"INFO", True]),
    (client, {}, "log_file", NO_PATHS),
    (client, {}, "timeout", NO_SECONDS),
    (client, {}, "connect_timeout", NO_SECONDS),
    (client, {}, "tls", NO_FLAGS),
    (kept("initialize"), {"exec_task": task, "exit_task": task}, "init_task", NO_FUNCTIONS),
    (kept("initialize"), {"init_task": task, "exit_task": task}, "exec_task", NO_FUNCTIONS),
    (kept("initialize"), {"init_task": task, "exec_task": task}, "exit_task", NO_FUNCTIONS),
    (kept("call"), {}, "args", [None, *NO_DICTS]),
    (kept("call"), {"args": {}}, "timeout", NO_SECONDS),
    (kept("submit"), {}, "args", [None, *NO_DICTS]),
    (kept("execute"), {"exec_args": {}}, "timeout", NO_SECONDS),
    (kept("terminate"), {}, "exit_args", NO_DICTS),
    (kept("terminate"), {}, "timeout", NO_SECONDS),
    (bgpy.token_create, {}, "length", NO_INTEGERS),
    *[(Limits, {}, each.name, ["5", True, None, object()]) for each in fields(Limits)],
]


@pytest.mark.parametrize(
    ("function", "besides", "name", "value"),
    [(*each[:3], value) for each in WRONG for value in each[3]],
)
def test_a_wrong_type_is_a_type_error_that_names_the_argument(
    function: Callable[..., object], besides: Mapping[str, object], name: str, value: object
) -> None:
    """And says of which type it was; nothing has run by then."""
    with pytest.raises(TypeError, match=rf"^{name} .*\bnot \w+") as caught:
        function(**besides, **{name: value})
    assert type(value).__name__ in str(caught.value)


@pytest.mark.parametrize(
    ("function", "given", "text"),
    [
        (Server, {"host": "127.0.0.1", "port": -1}, "port must be from 0 to 65535, not -1"),
        (Client, {"host": "127.0.0.1", "port": 65536}, "port must be from 0 to 65535, not 65536"),
        (Client, {"host": "127.0.0.1:65536"}, "port must be from 0 to 65535, not 65536"),
        (server, {"token": ""}, "token is empty"),
        (server, {"token": "\ud800"}, "token has a character"),
        (client, {"token": ""}, "token is empty"),
        (server, {"log_level": "LOUD"}, "log_level must be one of .*INFO.*not 'LOUD'"),
        (client, {"log_level": -1}, "log_level must be 0 or more"),
        (server, {"log_file": ""}, "log_file must be the path of a file"),
        (server, {"init_file": "a\0b"}, "init_file must be the path of a file"),
        (client, {"log_file": b""}, "log_file must be the path of a file"),
        (server, {"keyfile": "key.pem"}, "keyfile was given without its certfile"),
        (client, {"timeout": -1}, "timeout must be 0 or more"),
        (client, {"timeout": float("nan")}, "timeout must be 0 or more"),
        (client, {"connect_timeout": -1}, "connect_timeout must be 0 or more"),
        (bgpy.token_create, {"length": 0}, "can't have 0 characters"),
    ],
)
def test_a_value_that_cant_be_is_a_value_error_that_names_the_argument(
    function: Callable[..., object], given: Mapping[str, object], text: str
) -> None:
    """Of the right type, and yet none that can be."""
    with pytest.raises(ValueError, match=text):
        function(**given)


def test_a_client_that_cant_be_made_leaves_no_log(tmp_path: Path) -> None:
    """Nothing is opened, and no handler added, before all arguments are found right."""
    before = list(logging.getLogger("bgpy.client").handlers)
    with pytest.raises(TypeError):
        client(log_file=tmp_path / "log", log_level=None)
    assert logging.getLogger("bgpy.client").handlers == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("spelt", [str, Path, Name, os.fsencode])
def test_server_and_client_run_whatever_their_paths_are_spelt_with(
    tmp_path: Path, spelt: Callable[[Path], Any]
) -> None:
    """Every kind of path, through the pipe to a process of its own."""
    init_file, logs = tmp_path / "served.py", [tmp_path / "server.log", tmp_path / "client.log"]
    init_file.write_text(
        "def init_task(): return 'of the file'\n"
        "def exec_task(sock, state, args): sock.respond(state)\n"
        "def exit_task(sock, state, args): pass\n"
    )
    handler_count = len(logging.getLogger("bgpy.client").handlers)
    made = Server(
        Words.HOST,
        Numbers.FREE,
        Words.TOKEN,
        Words.DEBUG,
        spelt(logs[0]),
        spelt(init_file),
        limits=Limits(max_requests=Numbers.SIZE, stall_timeout=Seconds(9.0)),
    )
    handle = made.run_background()
    try:
        with Client(OldWords.HOST, made.port, TOKEN, OldWords.DEBUG, spelt(logs[1])) as talks:
            assert talks.call({}) == "of the file"
            talks.terminate()
    finally:
        handle.kill()
        for each in logging.getLogger("bgpy.client").handlers[handler_count:]:
            logging.getLogger("bgpy.client").removeHandler(each)
            each.close()
    assert "listening" in logs[0].read_text()
    assert handle.log_file == str(logs[0])


def test_options_are_of_plain_types_whatever_they_are_made_from(tmp_path: Path) -> None:
    """What crosses the pipe to a server's process: marshal knows builtin types alone."""
    options = Options(
        host=OldWords.HOST,
        port=Numbers.SIZE,
        log_level=Level.DEBUG,  # type: ignore[arg-type]
        log_file=tmp_path,  # type: ignore[arg-type]
        limits=Limits(log_size=Numbers.SIZE, drain_timeout=Seconds(1)),
    )
    for each in fields(options):
        if each.name != "limits":
            assert type(getattr(options, each.name)) in (str, int, bool, type(None))
    assert {type(getattr(options.limits, each.name)) for each in fields(Limits)} == {int, float}


@pytest.mark.parametrize(
    ("level", "meant"),
    [
        ("info", "INFO"),
        ("WARN", "WARN"),
        (Words.DEBUG, "DEBUG"),
        (OldWords.DEBUG, "DEBUG"),
        (Level.DEBUG, "DEBUG"),
        (logging.INFO, 20),
        (15, 15),
    ],
)
def test_a_log_level_is_a_name_or_a_number(level: object, meant: object) -> None:
    """As ``logging`` takes it, and an enum for its text."""
    assert checked_level(level) == meant
    assert type(checked_level(level)) is type(meant)


def test_a_log_level_of_the_programs_own_travels_as_its_number() -> None:
    """A server's process knows the names that ``logging`` has, and no others."""
    logging.addLevelName(15, "Chatty")
    try:
        assert checked_level("chatty") == 15
    finally:
        vars(logging)["_nameToLevel"].pop("Chatty")
        vars(logging)["_levelToName"].pop(15)
