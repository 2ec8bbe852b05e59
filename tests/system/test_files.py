"""Small files: replaced whole, read, removed."""

from __future__ import annotations

import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from bgpy.errors import StartupError
from bgpy.system import files


def test_replace_is_seen_whole_or_not_at_all(tmp_path: Path) -> None:
    """Whoever reads while it is written gets the text before or the text after."""
    path, texts, seen = str(tmp_path / "file"), ["a" * 50_000, "b" * 70_000], set()
    files.replace(path, texts[0])
    done = threading.Event()

    def write() -> None:
        try:
            for number in range(200):
                files.replace(path, texts[number % 2])
        finally:
            done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.wait(0.001):  # Windows replaces no file that is always open
        seen.add(files.read(path))
    thread.join()
    assert seen <= set(texts)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_replace_makes_a_file_for_its_user_alone(tmp_path: Path) -> None:
    """Also where there was one that others could read."""
    path = tmp_path / "file"
    path.write_text("open")
    path.chmod(0o644)
    files.replace(str(path), "secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\xff"])
def test_read_gives_none_where_there_is_no_text(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty, or no UTF-8."""
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    assert files.read(str(tmp_path / "file")) is None


def test_remove_takes_what_a_killed_writer_left(tmp_path: Path) -> None:
    """Its own unfinished files, and nobody else's; twice is harmless."""
    for name in ("file", "file.12ab.new", "file.log", "other.12ab.new"):
        (tmp_path / name).write_text("x")
    files.remove(str(tmp_path / "file"))
    files.remove(str(tmp_path / "file"))
    assert sorted(os.listdir(tmp_path)) == ["file.log", "other.12ab.new"]


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    """With what to do; nothing of it is left half done."""
    (tmp_path / "file").mkdir()
    for act in (
        lambda: files.replace(str(tmp_path / "file"), "x"),
        lambda: files.read(str(tmp_path / "file")),
    ):
        with pytest.raises(StartupError, match="is in its place"):
            act()
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs there")
def test_open_regular_opens_files_and_nothing_that_waits(tmp_path: Path) -> None:
    """A FIFO without a writer would."""
    (tmp_path / "file").write_text("text")
    with files.open_regular(str(tmp_path / "file")) as file:
        assert file.readall() == b"text"
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "missing"):
        with pytest.raises(OSError, match=r"regular|No such"):
            files.open_regular(str(path))
