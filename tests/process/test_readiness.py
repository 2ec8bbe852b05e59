"""Tests of what launcher and server say to each other."""

from __future__ import annotations

import io
import marshal
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpy.config import Limits, Options
from bgpy.errors import StartupError
from bgpy.process.bootstrap import LINE_MAGIC, TEXT
from bgpy.process.readiness import Ready, messages, options_of, pack, script


def heard(reader: int) -> list[tuple[object, ...]]:
    """All messages in the pipe, up to its end."""
    with open(reader, "rb") as pipe:
        return list(messages(pipe))


def test_settings_give_options_back_when_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options, token, module and sys.path cross the pipe; odd entries of sys.path are left out."""
    monkeypatch.setattr("sys.path", ["", "/one", None, b"/two"])
    options = Options(host="::1", port=7, log_file="x", limits=Limits(max_message=99))
    pipe = io.BytesIO(pack(options, "secret", "some.module"))
    assert marshal.load(pipe) == TEXT
    settings = marshal.load(pipe)
    assert options_of(settings) == options
    assert (settings["token"], settings["module"]) == ("secret", "some.module")
    assert settings["path"] == ["", "/one"]


def test_messages_arrive_when_server_says_them() -> None:
    """Each word arrives as it was said, whatever is printed in between."""
    reader, writer = os.pipe()
    ready = Ready(writer)
    os.write(writer, b"a stray line\nand half of one")
    ready.logs_to("/nowhere/log")
    ready.ready("::1", 9, None)
    assert not ready.waited_for
    assert heard(reader) == [
        ("logs", os.path.abspath("/nowhere/log"), 0),
        ("ready", "::1", 9, None),
    ]


def test_failed_arrives_whole_when_it_is_long() -> None:
    """A reason may have many lines, and any characters."""
    text = "first\nsecond \0bgpy\0 \udcff é\n" * 100
    reader, writer = os.pipe()
    # A pipe of Windows takes 4 KB before somebody reads it.
    server = threading.Thread(target=Ready(writer).failed, args=(StartupError(text),))
    server.start()
    assert heard(reader) == [("failed", text, {})]
    server.join()


def test_ready_raises_when_launcher_is_gone() -> None:
    """A server learns at once that nobody waits for it."""
    reader, writer = os.pipe()
    os.close(reader)
    ready = Ready(writer)
    with pytest.raises(BrokenPipeError):
        ready.ready("127.0.0.1", 1, None)
    ready.close_in_child()


def test_ready_raises_when_it_was_said_before() -> None:
    """After the last word nothing more can be said."""
    reader, writer = os.pipe()
    ready = Ready(writer)
    ready.ready("127.0.0.1", 1, None)
    os.close(reader)
    with pytest.raises(ValueError, match="no longer waits"):
        ready.failed(StartupError("too late"))


def test_bootstrap_uses_the_same_magic_when_it_speaks() -> None:
    """The text of the bootstrap and the reader agree on how a line starts."""
    assert LINE_MAGIC.decode().replace("\0", "\\0") in TEXT
    compile(TEXT, "bootstrap", "exec")


@given(st.binary())
def test_messages_gives_nothing_when_bytes_are_stray(stray: bytes) -> None:
    """Bytes without the magic start are skipped, and a message after them is heard."""
    line = LINE_MAGIC + marshal.dumps(("started", 1)).hex().encode() + b"\n"
    stray = stray.replace(LINE_MAGIC, b"")
    assert list(messages(io.BytesIO(stray + b"\n" + line))) == [("started", 1)]


def test_messages_skips_line_when_it_is_cut_short() -> None:
    """A line whose writer died over it is no message."""
    line = LINE_MAGIC + marshal.dumps(("started", 1)).hex().encode() + b"\n"
    for length in range(len(line)):
        assert list(messages(io.BytesIO(line[:length]))) == []


@pytest.mark.parametrize(
    ("name", "session", "said"),
    [
        ("run.py", "", "{folder}/run.py"),
        ("bgpy", "", ""),
        ("ipykernel_launcher.py", "", "a notebook"),
        ("ipykernel_launcher.py", "/me/fit.ipynb", "/me/fit.ipynb"),
        ("none.py", "", ""),
    ],
)
def test_script_is_what_the_user_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, session: str, said: str
) -> None:
    """Not the command line of bgpy, nor the launcher of a notebook's kernel."""
    if name != "none.py":
        (tmp_path / name).touch()
    monkeypatch.setattr("sys.argv", [str(tmp_path / name)])
    monkeypatch.setenv("JPY_SESSION_NAME", session)
    assert script() == said.format(folder=tmp_path).replace(f"{tmp_path}/", f"{tmp_path}{os.sep}")
