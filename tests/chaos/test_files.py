"""Full disks, files of records that are not as they were written, and accounts without a home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bgpy import Client, Handle, Server, StartupError
from bgpy.address import parse
from bgpy.errors import AuthenticationError
from bgpy.state import claims, folders, records
from bgpy.system import processes
from tests.support.aftermath import PROMPT
from tests.support.peers import wait_until
from tests.support.tasks.troubled import TASKS, request, right_answer
from tests.support.tokens import token_for
from tests.support.ways import Way

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, owners and modes of POSIX")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can do this"
)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "small", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(log: Callable[[str], object]) -> None:
    """Print more than there is room for; whether that raises is the task's own concern."""
    for _ in range(50):
        try:
            log("x" * 10_000)
        except OSError:
            pass


@as_root
def test_server_serves_on_when_the_disk_of_its_log_is_full(way: Way, tmp_path: Path) -> None:
    """Lines are lost, calls are not; strangers and failures that would be logged do no harm."""
    with small_disk(tmp_path / "disk") as disk:
        handle = way.server(log_file=str(disk / "log")).run_background()
        try:
            _serves_without_a_log(way, handle)
        finally:
            handle.kill()


def test_server_serves_on_when_its_files_can_not_grow(way: Way, mortal: Handle) -> None:
    """A limit on the size of files takes the log, and nothing else."""
    import resource

    with way.client(mortal.port, timeout=20.0) as client:
        client.call({"limit": (resource.RLIMIT_FSIZE, 10_000)})
    _serves_without_a_log(way, mortal, initialize=False)


def _serves_without_a_log(way: Way, handle: Handle, initialize: bool = True) -> None:
    with way.client(handle.port, timeout=20.0) as client:
        if initialize:
            client.initialize(*TASKS)
        fill(lambda text: client.call({"print": text}))
        with pytest.raises(ValueError, match="in vain"):
            client.call({"raise": "in vain"})
        client.execute({"raise": "x" * 10_000})  # only the log hears of this one
        for number in range(20):
            with way.client(handle.port, timeout=PROMPT) as other:
                assert other.call(request(number)) == right_answer(number)
        client.terminate()
    assert handle.wait(20.0)


@as_root
def test_server_says_so_when_its_state_folder_has_no_room(
    way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that can't be written is a start that failed, with nothing left running."""
    with small_disk(tmp_path / "disk") as disk:
        monkeypatch.setenv("BGPY_HOME", str(disk / "home"))
        (disk / "home").mkdir(0o700)
        (disk / "ballast").write_bytes(bytes(64 * 1024))
        with pytest.raises(StartupError, match="No space"):
            way.server().run_background().kill()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:5]),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "noughts": lambda path: path.write_bytes(bytes(100)),
    "deeply nested": lambda path: path.write_bytes(b"[" * 100_000),
    "a text where a number was": lambda path: path.write_bytes(
        path.read_bytes().replace(b'"pid": ', b'"pid": "1", "was": ')
    ),
    "a list": lambda path: path.write_bytes(b"[1, 2]"),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a link into nothing": lambda path: (path.unlink(), path.symlink_to("/nonexistent/x")),
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path)),
    "readable by others": lambda path: path.chmod(0o644),
}


ADDRESS = ("127.0.0.1", 1)
NAMES = ("record", "token", "guard", "lock")


def _claim() -> claims.Claim:
    """Be the server at an address, with a record and a token."""
    claim = claims.claim(ADDRESS)
    start = processes.start_time(os.getpid()) or ""
    own = records.Record(*ADDRESS, os.getpid(), start, processes.boot_id().hex(), "3", "1", "00")
    claim.write(own, "its token")
    return claim


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_client_and_next_server_meet_a_documented_error_when_a_file_is_damaged(
    name: str, damage: str
) -> None:
    """The token is found, or there is none, or it is said which file is in the way."""
    claim = _claim()
    path = Path(getattr(claim.folder, name))
    try:
        DAMAGES[damage](path)
        with suppress(StartupError):
            assert isinstance(token_for(ADDRESS), (str, type(None)))
    finally:
        with suppress(StartupError):
            claim.release()
        claim.close_in_child()
    locks = name in ("guard", "lock")
    if damage == "a folder" or (locks and damage.startswith("a link")):
        with pytest.raises(StartupError, match=path.name):
            _claim().release()
        return
    again = _claim()
    try:
        assert token_for(ADDRESS) == "its token"
        assert not path.is_symlink()
        assert locks or not path.stat().st_mode & 0o077
    finally:
        again.release()


def test_folder_that_was_removed_is_made_anew_once_a_client_was_turned_away(
    bgpy_home: Path,
) -> None:
    """Though nothing else happens there, and the server has just looked after it."""
    handle = Server("127.0.0.1", 0).run_background()
    try:
        shutil.rmtree(bgpy_home)
        with pytest.raises(AuthenticationError):
            Client(handle.address).ping()
        wait_until(lambda: token_for(parse(handle.address)) is not None, "the token is there")
        with Client(handle.address) as client:
            client.ping()
    finally:
        handle.kill()


@pytest.mark.parametrize("name", NAMES)
def test_start_and_client_name_the_file_when_a_folder_is_in_its_place(name: str) -> None:
    """As users meet it: from a real server, and a client that looks for its token."""
    handle = Server("127.0.0.1", 0).run_background()
    path = Path(getattr(folders.folder("127.0.0.1", handle.port), name))
    try:
        DAMAGES["a folder"](path)
        with (
            Client("127.0.0.1", handle.port, timeout=20.0) as client,
            pytest.raises(StartupError, match=path.name),
        ):
            client.ping()
    finally:
        with suppress(StartupError):
            handle.kill()
    assert not handle.is_alive()
    with pytest.raises(StartupError, match=path.name):
        Server("127.0.0.1", handle.port).run_background()


@as_root
@pytest.mark.parametrize("what", ["path", "record", "token"])
def test_folder_is_refused_when_it_is_anothers(what: str) -> None:
    """A folder of another account is never trusted; a file in one's own is what it says."""
    handle = Server("127.0.0.1", 0).run_background()
    folder = folders.folder("127.0.0.1", handle.port)
    path = getattr(folder, what)
    try:
        os.chown(path, 4242, 4242)
        with Client("127.0.0.1", handle.port, timeout=20.0) as client:
            if what == "path":
                with pytest.raises(StartupError, match="another user"):
                    client.ping()
            else:
                assert client.ping() >= 0
        os.chown(path, os.geteuid(), os.getegid())
    finally:
        handle.kill()


_AS_ANOTHER = """
import os, sys
import encodings.idna, json, secrets
import bgpy, bgpy.hosting.host, bgpy.api.client, platformdirs, platformdirs.unix
from bgpy import BgpyError, Client, Server
os.environ.pop("BGPY_HOME", None)
{change}
for action in (Server("127.0.0.1", 0).run, Client("127.0.0.1", 1).ping):
    try:
        action()
    except BgpyError as error:
        print(type(error).__name__, error)
print(sorted(each for each in os.listdir(".") if "~" in each))
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            "os.environ.pop('HOME', None); os.setuid(4242)",
            "BGPY_HOME",
            marks=as_root,
            id="unknown uid",
        ),
        pytest.param("os.environ['HOME'] = ''", "BGPY_HOME", id="empty home"),
        pytest.param(
            "os.environ['HOME'] = '/proc/nowhere'", "BGPY_HOME", id="home that can't be made"
        ),
        pytest.param(
            "os.environ['BGPY_HOME'] = '/dev/null/x'", "BGPY_HOME", id="home below a file"
        ),
        pytest.param(
            "os.environ['BGPY_HOME'] = os.path.abspath('mine'); os.mkdir('mine', 0o500); "
            "os.chown('mine', 4242, 4242); os.setuid(4242)",
            "BGPY_HOME",
            marks=as_root,
            id="home that can't be written",
        ),
    ],
)
def test_start_names_the_remedy_when_there_is_no_home(
    tmp_path: Path, change: str, said: str
) -> None:
    """It says which variable to set, and makes no folder called `~`."""
    tmp_path.chmod(0o777)
    environment = {name: value for name, value in os.environ.items() if "XDG" not in name}
    done = subprocess.run(
        [sys.executable, "-c", _AS_ANOTHER.format(change=change)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=30.0,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    start, *_, folders = done.stdout.splitlines()
    assert start.startswith("StartupError")
    assert said in start
    assert folders == "[]"
