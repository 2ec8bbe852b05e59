"""Where the sockets of servers without an address lie."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from bgpy.errors import StartupError
from bgpy.state import folders, sockets
from bgpy.state.sockets import on_network, socket_folder

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
tmpfs /home/me/local tmpfs rw 0 0
host:/x /mnt/with\\040blank\\134 fuse.sshfs rw 0 0
//box/share /mnt/share cifs rw 0 0
short line
"""


@pytest.mark.skipif(sys.platform == "win32", reason="paths are told apart by other signs there")
@pytest.mark.parametrize(
    ("path", "shared"),
    [
        ("/", False),
        ("/var/lib", False),
        ("/home", True),
        ("/home/me/bgpy/sockets", True),
        ("/home/me/local/bgpy", False),
        ("/homes/me", False),
        ("/mnt/with blank\\/x", True),
        ("/mnt/share/a/b", True),
    ],
)
def test_on_network_tells_by_the_nearest_mount(tmp_path: Path, path: str, shared: bool) -> None:
    """The longest mount point above it decides, whatever blanks are in it."""
    (tmp_path / "mounts").write_text(MOUNTS)
    assert on_network(path, str(tmp_path / "mounts")) is shared


def test_on_network_takes_the_last_of_two_mounts_at_one_place(tmp_path: Path) -> None:
    """It covers the one before."""
    (tmp_path / "mounts").write_text("a /x nfs rw 0 0\nb /x ext4 rw 0 0\n")
    assert not on_network("/x/y", str(tmp_path / "mounts"))


def test_on_network_is_false_where_nothing_tells(tmp_path: Path) -> None:
    """Other systems have no such file."""
    assert not on_network("/home", str(tmp_path / "none"))


def test_socket_folder_is_the_state_folder_when_its_path_is_short() -> None:
    """Nothing is made by asking."""
    folder = socket_folder(300)
    assert folder == folders.below_machine("sockets")
    assert not os.path.exists(folders.home())


@pytest.mark.parametrize("why", ["too long", "network"])
def test_socket_folder_is_in_the_temporary_one_when_it_has_to_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, why: str
) -> None:
    """One for each user; a name of 8 characters still fits, to the byte."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    longest = len(os.fsencode(folders.below_machine("sockets"))) + 9
    assert socket_folder(longest) == folders.below_machine("sockets")
    if why == "network":
        monkeypatch.setattr(sockets, "on_network", lambda path: True)
    else:
        longest -= 1
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    assert socket_folder(longest) == os.path.join(os.path.realpath(tmp_path), f"bgpy-{user}")


@pytest.mark.skipif(sys.platform == "win32", reason="it takes any name for one of its users")
def test_socket_folder_raises_when_there_is_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record has no place either."""
    monkeypatch.setenv("BGPY_HOME", "~nobody-of-that-name/x")
    with pytest.raises(StartupError, match="BGPY_HOME"):
        socket_folder(100)
