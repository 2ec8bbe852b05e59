"""Tests of where a server's files are, and of who may get at them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpy.errors import StartupError
from bgpy.state import claims, folders, records
from bgpy.state.folders import Folder, exists_privately, make_private, safe

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")
ADDRESS = ("127.0.0.1", 54321)


def _made() -> Folder:
    """The folder of the server at `ADDRESS`, made where it was missing."""
    place = folders.folder(*ADDRESS)
    make_private(place.path)
    return place


def test_home_is_chosen_folder_when_environment_names_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """BGPY_HOME is made absolute, and its ``~`` means the home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BGPY_HOME", "here")
    assert folders.home() == os.path.realpath(tmp_path / "here")
    monkeypatch.setenv("BGPY_HOME", "~/there")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert folders.home() == os.path.realpath(tmp_path / "there")


@posix_only
def test_home_is_in_state_folder_when_environment_names_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without BGPY_HOME it lies in the platform's state folder."""
    monkeypatch.delenv("BGPY_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    found = folders.home()
    assert found.startswith(os.path.realpath(tmp_path))
    assert os.path.basename(found) == "bgpy"


@posix_only
@pytest.mark.parametrize("home", [None, ""])
def test_home_names_the_remedy_when_account_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str | None
) -> None:
    """Without a home there is an error that names BGPY_HOME, and no folder called ``~``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BGPY_HOME")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    if home is None:
        # As for a uid that isn't in the password file.
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    else:
        monkeypatch.setenv("HOME", home)
    with pytest.raises(StartupError, match="BGPY_HOME"):
        claims.claim(ADDRESS)
    assert "~" not in os.listdir(tmp_path)


@posix_only  # Windows takes any name for one of its users
def test_home_raises_when_chosen_home_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``~`` that can't be resolved is an error, not a folder."""
    monkeypatch.setenv("BGPY_HOME", "~nobody-of-that-name/x")
    with pytest.raises(StartupError, match="BGPY_HOME"):
        folders.home()


def test_claim_names_the_remedy_when_home_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A home below a plain file can't be made, and BGPY_HOME is the way out."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BGPY_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(StartupError, match="BGPY_HOME"):
        claims.claim(ADDRESS)


@posix_only
def test_make_private_makes_private_folders_when_missing() -> None:
    """Every folder, from the root to the server's own, is the owner's alone."""
    place = _made()
    path = place.path
    while True:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
        if path == folders.home():
            break
        path = os.path.dirname(path)


@posix_only
def test_folder_is_refused_when_others_have_access() -> None:
    """A folder that others can look into is refused, with the chmod that mends it."""
    place = _made()
    os.chmod(os.path.dirname(place.path), 0o750)
    with pytest.raises(StartupError, match="chmod 700"):
        records.find(ADDRESS)


@posix_only
def test_root_is_accepted_when_others_can_only_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A root that the user made may be readable to others, but not writable."""
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setenv("BGPY_HOME", str(root))
    root.chmod(0o755)
    assert exists_privately(_made().path)
    root.chmod(0o777)
    with pytest.raises(StartupError, match="chmod 700"):
        _made()


@posix_only
def test_folder_is_refused_when_it_is_a_link(tmp_path: Path) -> None:
    """A link in the place of a server's folder is refused."""
    place = _made()
    os.rmdir(place.path)
    os.symlink(tmp_path, place.path)
    with pytest.raises(StartupError, match="link"):
        claims.claim(ADDRESS)


@posix_only
def test_folder_is_refused_when_it_is_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of another user is refused."""
    _made()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(StartupError, match="another user"):
        records.find(ADDRESS)


def test_folder_has_a_readable_name_when_address_is_usual() -> None:
    """The name of a folder tells the address."""
    assert os.path.basename(folders.folder(*ADDRESS).path) == "127.0.0.1-54321"
    assert os.path.basename(folders.folder("::1", 5).path) == "__1-5"


@given(st.text(max_size=30), st.text(max_size=30))
def test_safe_gives_different_names_when_texts_differ(one: str, other: str) -> None:
    """No two texts give one file name, and every name is one of a plain file."""
    assert (safe(one) == safe(other)) == (one == other)
    assert safe(one) not in ("", ".", "..")
    assert set(safe(one)).isdisjoint("/\\:\0 ")
