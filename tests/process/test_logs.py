"""Tests of the log: everything lands in it, and rotation keeps it."""

from __future__ import annotations

import logging
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgpy import Client, Server
from bgpy.api.handles import Handle
from bgpy.config import Options
from bgpy.errors import StartupError
from bgpy.example import tasks
from bgpy.process import logs
from bgpy.process.launch import launch
from tests.support.peers import wait_until


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """Give an open log: path and descriptor."""
    path = tmp_path / "log"
    fd = logs.open_log(str(path))
    yield path, fd
    os.close(fd)


@pytest.mark.skipif(sys.platform == "win32", reason="C output can't be buffered by line there")
def test_log_has_every_line_when_server_prints_in_every_way(meeting: Any, tmp_path: Path) -> None:
    """Python, C code, children and logging write into one file, line by line, while it runs."""
    path = tmp_path / "folder" / "log"
    options = Options(port=meeting.port, init_file="print_all", log_file=str(path))
    handle = Handle(launch(options, "t" * 64, "fake_server"), terminate=print)
    _, lines = meeting.accept()
    assert lines.readline() == b"printed\n"
    found = path.read_text().splitlines()
    handle.kill()
    assert handle.log_file == str(path)
    assert found[:7] == [
        "early text",
        "text of print",
        "text of stderr",
        r"\udcff",
        "text of write",
        "text of puts",
        "text of child",
    ]
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
    assert re.fullmatch(f"{time} INFO bgpy.server: text of bgpy", found[7])
    assert re.fullmatch(f"{time} WARNING mine: text of task", found[8])
    assert len(found) == 9


def test_redirect_leaves_file_alone_when_user_sent_output_there(tmp_path: Path) -> None:
    """Output that the user sent to a file of theirs is not copied into the log."""
    text = (
        "import sys\nfrom bgpy.process import logs\n"
        "print('before', file=sys.stderr, flush=True)\n"
        f"logs.redirect(logs.open_log({str(tmp_path / 'log')!r}))\nprint('after')\n"
    )
    with open(tmp_path / "err", "wb") as error:
        subprocess.run([sys.executable, "-c", text], stderr=error, check=True)
    assert (tmp_path / "err").read_text() == "before\n"
    assert (tmp_path / "log").read_text() == "after\n"


def test_redirect_makes_streams_when_process_has_none(tmp_path: Path) -> None:
    """A process without standard streams gets them."""
    text = (
        "import sys\nfrom bgpy.process import logs\nsys.stdout = sys.stderr = None\n"
        f"logs.redirect(logs.open_log({str(tmp_path / 'log')!r}))\n"
        "print('out')\nprint('err', file=sys.stderr)\n"
    )
    subprocess.run([sys.executable, "-c", text], check=True)
    assert (tmp_path / "log").read_text() == "out\nerr\n"


def test_open_log_makes_private_file_when_missing(tmp_path: Path) -> None:
    """A new log is readable by its owner alone, and its folders are made."""
    path = tmp_path / "one" / "two" / "log"
    os.close(logs.open_log(str(path)))
    assert path.exists()
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_open_log_raises_when_path_is_a_folder(tmp_path: Path) -> None:
    """A log that can't be opened is a start that failed, and named."""
    with pytest.raises(StartupError, match=re.escape(str(tmp_path))):
        logs.open_log(str(tmp_path))


def test_configure_logging_sets_level_when_root_has_handlers() -> None:
    """Where others have set up logging, only bgpy's level is set."""
    logger, root = logging.getLogger("bgpy"), logging.getLogger()
    before, handlers = logger.level, root.handlers[:]
    root.addHandler(logging.NullHandler())
    try:
        with_null = root.handlers[:]
        logs.configure_logging("ERROR")
        assert logger.level == logging.ERROR
        assert root.handlers == with_null
    finally:
        logger.setLevel(before)
        root.handlers[:] = handlers


LOGGING = """
import logging, sys
from bgpy.process import logs
logs.configure_logging("INFO")
def say(text):
    logging.getLogger("bgpy.server").info("ours %s", text)
    logging.getLogger("mine").warning("theirs %s", text)
    logging.getLogger("mine").info("never shown")
say("before")
logging.basicConfig(format="USERS %(message)s", stream=sys.stderr)
say("after")
"""


def test_configure_logging_leaves_the_root_logger_to_the_user() -> None:
    """`basicConfig` in a task works; no line comes twice, and none is lost before it."""
    done = subprocess.run([sys.executable, "-c", LOGGING], capture_output=True, text=True)
    lines = done.stderr.splitlines()
    assert [line.partition(" ")[2].partition(" ")[2] for line in lines[:3]] == [
        "INFO bgpy.server: ours before",
        "WARNING mine: theirs before",
        "INFO bgpy.server: ours after",
    ]
    assert lines[3:] == ["USERS theirs after"]


def test_configure_logging_raises_when_level_is_unknown() -> None:
    """A misspelt level is an error, not silence."""
    with pytest.raises(ValueError, match="LOUD"):
        logs.configure_logging("LOUD")


def test_rotation_is_due_when_log_is_over_size(log: tuple[Path, int]) -> None:
    """The size counts, and is looked at once a second only."""
    path, fd = log
    rotation = logs.Rotation(str(path), fd, 10)
    os.write(fd, b"x" * 10)
    assert not rotation.due(100.0)
    os.write(fd, b"x")
    assert not rotation.due(100.9)
    assert rotation.due(101.0)


def test_rotation_is_never_due_when_log_is_no_file() -> None:
    """A log that goes to a device is not rotated."""
    fd = os.open(os.devnull, os.O_RDWR)
    assert not logs.Rotation(os.devnull, fd, -1).due(1.0)
    os.close(fd)


def test_rotate_moves_text_when_called(log: tuple[Path, int]) -> None:
    """What was in the log is in the older file, which it replaces, and the log is empty."""
    path, fd = log
    rotation = logs.Rotation(str(path), fd, 1)
    older = Path(f"{path}.1")
    for text in (b"first", b"x" * (2**20 + 1)):
        os.write(fd, text)
        rotation.rotate()
        assert (older.read_bytes(), path.read_bytes()) == (text, b"")
    assert os.listdir(path.parent) != []
    assert {name for name in os.listdir(path.parent) if name.startswith("log")} == {"log", "log.1"}


def test_rotate_keeps_text_when_printed_while_copying(
    log: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is printed while the log is copied is in the older file."""
    if sys.platform == "win32":
        pytest.skip("a rename ends the copying there")
    path, fd = log
    replace = os.replace

    def print_then_replace(source: str, target: str) -> None:
        os.write(fd, b" and late")
        replace(source, target)

    os.write(fd, b"early")
    monkeypatch.setattr(logs.os, "replace", print_then_replace)
    logs.Rotation(str(path), fd, 1).rotate()
    assert Path(f"{path}.1").read_bytes() == b"early and late"


def _renew(rotation: logs.Rotation, now: float) -> bool:
    """Do what is due; whether anything was."""
    due = rotation.due(now)
    if due:
        rotation.renew()
    return due


@pytest.mark.skipif(sys.platform == "win32", reason="descriptor 2 of this process is changed")
@pytest.mark.parametrize("how", ["removed", "renamed", "replaced"])
def test_renew_makes_the_log_again_when_it_was_moved(
    log: tuple[Path, int], how: str, tmp_path: Path
) -> None:
    """What was written meanwhile is in the old file, what comes then at the path; it rotates."""
    path, fd = log
    old = open(path, "rb")  # noqa: SIM115
    rotation = logs.Rotation(str(path), fd, 10)
    os.write(fd, b"1\n")
    if how == "removed":
        path.unlink()
    else:
        path.rename(tmp_path / "elsewhere")
    if how == "replaced":
        path.write_bytes(b"new\n")
    os.write(fd, b"2\n")
    stderr = os.dup(2)
    os.dup2(fd, 2)
    try:
        assert _renew(rotation, 1.0)
        os.write(2, b"3\n")
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    os.write(fd, b"4\n")
    with old:
        assert old.read() == b"1\n2\n"
    assert path.read_bytes() == (b"new\n" if how == "replaced" else b"") + b"3\n4\n"
    assert not os.get_inheritable(fd)
    assert not _renew(rotation, 3.0)
    os.write(fd, b"5" * 20)
    assert _renew(rotation, 5.0)
    assert path.read_bytes() == b""
    assert Path(f"{path}.1").read_bytes().endswith(b"4\n" + b"5" * 20)


@pytest.mark.skipif(sys.platform == "win32", reason="a log that is open can't be removed")
def test_renew_keeps_the_old_log_when_no_new_one_can_be_made(log: tuple[Path, int]) -> None:
    """It is tried again; the file that is open takes what is written until then."""
    path, fd = log
    rotation = logs.Rotation(str(path), fd, 10)
    with open(path, "rb") as old:
        path.unlink()
        path.mkdir()
        with pytest.raises(OSError, match="log"):
            _renew(rotation, 1.0)
        os.write(fd, b"kept")
        assert old.read() == b"kept"
        path.rmdir()
        assert _renew(rotation, 3.0)
        os.write(fd, b"anew")
    assert path.read_bytes() == b"anew"


@pytest.mark.skipif(sys.platform == "win32", reason="a log that is open can't be renamed")
def test_log_file_is_opened_anew_when_it_was_moved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That of a server in the foreground; a folder that is gone raises nowhere."""
    path, old = tmp_path / "folder" / "log", tmp_path / "old"
    path.parent.mkdir()
    handler = logs.LogFile(str(path))
    text = iter("12345")
    say = lambda: handler.emit(logging.makeLogRecord({"msg": next(text)}))  # noqa: E731
    say()
    path.rename(old)
    say()
    path.unlink()
    path.parent.rmdir()
    say()
    path.parent.mkdir()
    say()
    handler.close()
    assert (old.read_text(), path.read_text()) == ("1\n", "4\n")
    assert "No such file" in capsys.readouterr().err


CRASHES = """
import faulthandler, logging, os, pathlib, sys
from bgpy.process.logs import LogFile
path = pathlib.Path(sys.argv[1])
log = LogFile(str(path))
log.take_crashes()
path.rename(path.with_suffix(".old"))
log.emit(logging.makeLogRecord({"msg": "anew"}))
if sys.argv[2] == "child" and os.fork():
    os.wait()
else:
    faulthandler._sigsegv()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a log that is open can't be renamed")
@pytest.mark.parametrize("whose", ["server", "child"])
def test_log_file_takes_the_crash_of_its_own_process(tmp_path: Path, whose: str) -> None:
    """Also once it was opened anew; that of a forked child goes to standard error."""
    path = tmp_path / "server.log"
    command = [sys.executable, "-c", CRASHES, str(path), whose]
    printed = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    logged, crash = path.read_text(), "Fatal Python error: Segmentation fault"
    assert logged.startswith("anew")
    assert (crash in logged, crash in printed) == (whose == "server", whose == "child")


def test_rotate_keeps_children_writing_when_they_hold_the_log(log: tuple[Path, int]) -> None:
    """A child that was started before the rotation writes on into the log, from its start."""
    path, fd = log
    text = "import sys\nfor line in sys.stdin: print('child', line, end='', flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=fd, stderr=fd
    ) as child:
        os.write(fd, b"before\n")
        logs.Rotation(str(path), fd, 1).rotate()
        child.communicate(b"after\n")
    assert Path(f"{path}.1").read_bytes() == b"before\n"
    assert path.read_bytes().splitlines() == [b"child after"]


def test_rotate_leaves_log_whole_when_copy_cannot_be_written(log: tuple[Path, int]) -> None:
    """A rotation that fails loses nothing."""
    path, fd = log
    os.write(fd, b"text")
    Path(f"{path}.1.new").mkdir()
    with pytest.raises(OSError, match=re.escape("log.1.new")):
        logs.Rotation(str(path), fd, 1).rotate()
    assert path.read_bytes() == b"text"


def begin_lines(client_socket: object, state: object, args: dict[str, str]) -> None:
    """Print as progress is printed."""
    import sys
    from pathlib import Path

    from bgpy import respond

    print(args["out"], end="")
    sys.stderr.write(args["err"])
    sys.stdout.buffer.write(b"<bytes>")
    respond(client_socket, Path(args["log"]).read_text())


def test_output_without_the_end_of_a_line_is_in_the_log_after_the_task() -> None:
    """Also that of the last of many tasks; standard error at once, while the task runs."""
    handle = Server("127.0.0.1", 0).run_background()
    try:
        assert handle.log_file is not None
        log = Path(handle.log_file)
        client = Client(handle.address)
        client.initialize(tasks.init_task, begin_lines, tasks.exit_task)
        for number in range(50):
            seen = client.call(
                {"out": f"[out {number}]", "err": f"[err {number}]", "log": handle.log_file}
            )
            assert f"[err {number}]" in seen  # while the task runs
        wait_until(lambda: "[out 49]" in log.read_text(), "it is written out")
        text = log.read_text()
        assert all(f"[out {n}]" in text and f"[err {n}]" in text for n in range(50))
        assert text.count("<bytes>") == 50
    finally:
        handle.kill()
