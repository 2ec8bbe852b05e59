"""Where Unix sockets lie: in folders that nobody else can get at."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bgpy import (
    Client,
    Handle,
    Server,
    StartupError,
    address,
)
from bgpy.serving.io import listener
from bgpy.state import sockets

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Python has Unix sockets on POSIX only")


@pytest.fixture
def default() -> Iterator[Callable[[], Handle]]:
    """Start a server that is given no address."""
    started: list[Handle] = []

    def start() -> Handle:
        started.append(Server().run_background())
        return started[-1]

    yield start
    for handle in started:
        handle.kill()


def _log(handle: Handle) -> str:
    return Path(handle.log_file or "").read_text()


def _bind(path: str) -> None:
    """Listen at `path`, as a server does, and end."""
    listener.listen(address.parse(f"unix:{path}")).close()


# Where nothing is given


def test_server_without_an_address_gets_a_socket_of_its_own(
    default: Callable[[], Handle],
) -> None:
    """Each another one, in a folder that is this user's alone; clients find the tokens."""
    first, second = default(), default()
    assert first.address != second.address
    for handle in (first, second):
        path = Path(handle.address.removeprefix("unix:"))
        assert handle.address.startswith("unix:")
        assert (handle.host, handle.port) == (handle.address, 0)
        assert path.parent == Path(sockets.socket_folder(107))
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path.stat().st_mode & 0o777 == 0o600
        with Client(handle.address) as client:
            assert client.ping() > 0


def test_servers_without_addresses_do_not_knock_at_each_other(
    default: Callable[[], Handle],
) -> None:
    """The next one looks for dead ones without a stranger's line in anybody's log."""
    handles = [default() for _ in range(3)]
    for handle in handles:
        with Client(handle.address) as client:
            client.ping()  # handled by the thread that would have written of it
        assert "WARNING" not in _log(handle)


def test_next_server_without_an_address_removes_what_a_killed_one_left(
    default: Callable[[], Handle],
) -> None:
    """And nothing of those that live."""
    dead, living = default(), default()
    dead.kill()
    path = Path(dead.address.removeprefix("unix:"))
    assert path.exists()
    new = default()
    assert not path.exists()
    for handle in (living, new):
        with Client(handle.address) as client:
            assert client.ping() > 0
    assert len(os.listdir(path.parent)) == 2


def test_bgpy_home_that_is_too_deep_gives_a_socket_in_the_temporary_folder(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, default: Callable[[], Handle]
) -> None:
    """Record and token stay where they are; the folder there is this user's alone as well."""
    deep = tmp_path / ("deep" * 20)
    monkeypatch.setenv("BGPY_HOME", str(deep))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    handle = default()
    assert handle.address.startswith(f"unix:{folder}/bgpy-{os.geteuid()}/")
    with Client(handle.address) as client:
        client.terminate()
    os.chmod(folder / f"bgpy-{os.geteuid()}", 0o755)
    with pytest.raises(StartupError, match="chmod 700"):
        default()


def test_server_without_an_address_gets_a_free_port_where_there_are_no_unix_sockets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on Windows; one that is given a port, or a host, gets no socket anywhere."""
    assert Server(port=0).address == Server("127.0.0.1", 0).address == "127.0.0.1:0"
    monkeypatch.setattr(address, "HAS_UNIX_SOCKETS", False)
    server = Server()
    assert server.address == "127.0.0.1:0"
    handle = server.run_background()
    try:
        assert server.address == handle.address == f"127.0.0.1:{handle.port}"
        assert handle.port > 0
    finally:
        handle.kill()


# The folder


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_folder_that_others_can_get_at_is_refused(folder: Path, mode: int) -> None:
    """With what mends it."""
    shared = folder / "shared"
    shared.mkdir()
    shared.chmod(mode)
    with pytest.raises(StartupError, match=f"chmod 700 {shared}"):
        _bind(f"{shared}/socket")
    assert os.listdir(shared) == []


@pytest.mark.parametrize("shared", ["/", "/usr", "sticky"])
def test_folder_of_the_system_is_refused_without_a_word_of_chmod(folder: Path, shared: str) -> None:
    """Who runs as root might enter it, and nobody else could use ``/tmp`` any more."""
    if shared == "sticky":
        folder.chmod(0o1777)
        shared = str(folder)
    with pytest.raises(StartupError, match="a folder of your own") as caught:
        _bind(f"{shared}/bgpy-test")
    assert "chmod" not in str(caught.value)


def test_folder_that_is_a_link_is_refused(folder: Path) -> None:
    """Whoever made it could lead it elsewhere, also where it leads to nothing."""
    (folder / "real").mkdir(0o700)
    for target in ("real", "nowhere"):
        (folder / "link").unlink(missing_ok=True)
        (folder / "link").symlink_to(folder / target)
        with pytest.raises(StartupError, match="or a link"):
            _bind(f"{folder}/link/socket")


def test_folder_of_another_user_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its mode."""
    (folder / "other").mkdir(0o700)
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(StartupError, match="belongs to another user"):
        _bind(f"{folder}/other/socket")


def test_folder_is_made_for_this_user_alone(folder: Path, start_at: Callable[..., Handle]) -> None:
    """With those above it that are missing, whatever the umask."""
    before = os.umask(0)
    try:
        start_at(f"unix:{folder}/a/b/socket")
    finally:
        os.umask(before)
    for each in (folder / "a", folder / "a/b"):
        assert each.stat().st_mode & 0o777 == 0o700
    assert (folder / "a/b/socket").stat().st_mode & 0o777 == 0o600


def test_folder_that_can_not_be_made_is_a_startup_error(folder: Path) -> None:
    """Below a file there are none."""
    (folder / "file").touch()
    with pytest.raises(StartupError, match=r"can.t be made|or a link"):
        _bind(f"{folder}/file/below/socket")
