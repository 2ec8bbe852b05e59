"""The file of a Unix socket: whose it is, and who may take it over."""

from __future__ import annotations

import os
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpy.errors import StartupError
from bgpy.serving.io import unix

if sys.platform == "win32":

    def test_there_are_no_unix_sockets_on_windows() -> None:
        """The error says what to use instead."""
        with pytest.raises(StartupError, match=r"127\.0\.0\.1"):
            unix.bind("/anywhere", 1)

else:

    @pytest.fixture
    def folder() -> Iterator[Path]:
        """A folder of this user's with a short path."""
        with tempfile.TemporaryDirectory(prefix="bgpy-") as folder:
            yield Path(os.path.realpath(folder))

    def _dead(path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))

    def test_bind_listens_where_only_this_user_can_connect(folder: Path) -> None:
        """In a folder that it makes, if need be, for this user alone."""
        path = folder / "new" / "deep" / "socket"
        with unix.bind(str(path), 5), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_bind_takes_over_what_a_dead_server_left(folder: Path) -> None:
        """A file that is told from the one before."""
        path = folder / "socket"
        _dead(path)
        before = unix.identity(str(path))
        assert before is not None
        with unix.bind(str(path), 5) as sock:
            assert sock.getsockname() == str(path)

    def test_bind_leaves_what_lives_alone(folder: Path) -> None:
        """Or is no socket at all; both stay as they are."""
        path, file = folder / "socket", folder / "file"
        file.write_text("kept")
        with unix.bind(str(path), 5), pytest.raises(StartupError, match="listens at"):
            unix.bind(str(path), 5)
        with pytest.raises(StartupError, match="not a socket"):
            unix.bind(str(file), 5)
        assert file.read_text() == "kept"

    def test_folder_that_can_not_be_made_is_named(folder: Path) -> None:
        """With what to do."""
        (folder / "file").write_text("")
        with pytest.raises(StartupError, match=r"can't be made|directory"):
            unix.bind(str(folder / "file" / "new" / "socket"), 5)

    def test_identity_tells_a_file_from_the_next_one(folder: Path) -> None:
        """Both exist at once here, so that no number can be used again."""
        one, other = folder / "one", folder / "other"
        _dead(one)
        _dead(other)
        assert unix.identity(str(one)) == unix.identity(str(one))
        assert unix.identity(str(one)) != unix.identity(str(other))
        unix.remove(str(one))
        unix.remove(str(one))  # harmless if repeated
        assert unix.identity(str(one)) is None

    def test_stale_sockets_are_removed_and_nothing_else(folder: Path) -> None:
        """Neither what is known to live, nor what listens, nor another kind of file."""
        for name in ("dead", "known"):
            _dead(folder / name)
        (folder / "file").write_text("kept")
        with unix.bind(str(folder / "listens"), 5):
            unix.remove_stale(str(folder), lambda path: path.endswith("known"))
            assert sorted(os.listdir(folder)) == ["file", "known", "listens"]
