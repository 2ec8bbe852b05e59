"""Tests of making and keeping tokens."""

from __future__ import annotations

import os
import stat
import string
from pathlib import Path
from typing import Any

import pytest

from bgpy import tokens

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")


@pytest.mark.parametrize("length", [1, 2, 31, 64, 65])
def test_create_gives_hexadecimal_when_asked_for_any_length(length: int) -> None:
    """A token has exactly the characters asked for."""
    token = tokens.create(length)
    assert len(token) == length
    assert set(token) <= set(string.hexdigits)


def test_create_gives_another_token_when_called_again() -> None:
    """No two tokens are the same."""
    assert len({tokens.create() for _ in range(100)}) == 100


@pytest.mark.parametrize("length", [0, -1])
def test_create_advises_when_length_is_too_small(length: int) -> None:
    """A token without characters is refused, naming the advised length."""
    with pytest.raises(ValueError, match="32"):
        tokens.create(length)


@pytest.mark.parametrize("length", [None, "64", 6.4, True])
def test_create_raises_when_length_is_no_integer(length: Any) -> None:
    """A length of another type is refused."""
    with pytest.raises(TypeError):
        tokens.create(length)


def test_environment_gives_token_when_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """BGPY_TOKEN is set, read and removed; an empty one is none."""
    monkeypatch.setenv("BGPY_TOKEN", "")
    assert tokens.from_environment() is None
    tokens.set_environment("secret")
    assert os.environ["BGPY_TOKEN"] == tokens.from_environment() == "secret"
    tokens.remove_environment()
    tokens.remove_environment()
    assert tokens.from_environment() is None


def test_read_gives_token_when_kept(tmp_path: Path) -> None:
    """A kept token is read back, replaces the one before, and leaves no other file."""
    path = str(tmp_path / "token")
    for token in ("one", "twö"):
        tokens.keep(path, token)
        assert tokens.read(path) == token
    assert os.listdir(tmp_path / ".") == ["token"]
    tokens.discard(path)
    tokens.discard(path)
    with pytest.raises(FileNotFoundError):
        tokens.read(path)


@posix_only
def test_keep_makes_private_file_when_umask_is_open(tmp_path: Path) -> None:
    """The file is the owner's alone, whatever the umask."""
    before = os.umask(0)
    try:
        tokens.keep(str(tmp_path / "token"), "secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


@posix_only
def test_keep_replaces_link_when_one_is_in_the_way(tmp_path: Path) -> None:
    """A link is replaced, and what it points to left alone."""
    target, link = tmp_path / "target", tmp_path / "token"
    target.write_text("untouched")
    link.symlink_to(target)
    tokens.keep(str(link), "secret")
    assert target.read_text() == "untouched"
    assert tokens.read(str(link)) == "secret"


@posix_only
def test_read_refuses_file_when_it_is_a_link(tmp_path: Path) -> None:
    """A link is refused, whatever it points to."""
    tokens.keep(str(tmp_path / "token"), "secret")
    (tmp_path / "link").symlink_to(tmp_path / "token")
    with pytest.raises(PermissionError, match="symbolic link"):
        tokens.read(str(tmp_path / "link"))


@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_read_names_the_remedy_when_others_have_access(tmp_path: Path, mode: int) -> None:
    """A file that others can read or write is refused, with the chmod that mends it."""
    path = tmp_path / "token"
    tokens.keep(str(path), "secret")
    path.chmod(mode)
    with pytest.raises(PermissionError, match=f"chmod 600 {path}"):
        tokens.read(str(path))


@posix_only
def test_read_refuses_file_when_it_is_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's file is refused."""
    tokens.keep(str(tmp_path / "token"), "secret")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PermissionError, match="another user"):
        tokens.read(str(tmp_path / "token"))


@posix_only
def test_read_refuses_at_once_when_it_is_a_pipe(tmp_path: Path) -> None:
    """A named pipe is refused, without waiting for a writer."""
    os.mkfifo(tmp_path / "token", 0o600)
    with pytest.raises(PermissionError, match="not a plain file"):
        tokens.read(str(tmp_path / "token"))


@pytest.mark.parametrize(("content", "named"), [(b" \n", "empty"), (b"\xff\xfe", "not text")])
def test_read_names_the_file_when_it_holds_no_token(
    tmp_path: Path, content: bytes, named: str
) -> None:
    """A file without a token in it is an error that says so."""
    path = tmp_path / "token"
    tokens.keep(str(path), "x")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=named):
        tokens.read(str(path))
