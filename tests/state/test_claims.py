"""Claims: who becomes the server at an address, and what it leaves behind."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
import threading
from typing import Any

import pytest

from bgpy.errors import StartupError
from bgpy.state import claims, folders, records
from bgpy.system import processes
from tests.support.claimed import ADDRESS, own_record, server
from tests.support.tokens import token_for

fork_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_files_are_private_when_umask_is_open(claim: claims.Claim) -> None:
    """Record, token and lock are the owner's alone, whatever the umask."""
    before = os.umask(0)
    try:
        claim.write(own_record(), "secret")
    finally:
        os.umask(before)
    for path in (claim.folder.record, claim.folder.token, claim.folder.lock, claim.folder.guard):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert sorted(os.listdir(claim.folder.path)) == ["guard", "lock", "record.json", "token"]


def test_claim_names_the_server_when_one_lives() -> None:
    """A second server is refused, naming the first, which stays as it was."""
    with server() as first:
        with pytest.raises(StartupError, match=rf"running at 127\.0\.0\.1:54321 .*pid {first.pid}"):
            claims.claim(ADDRESS)
        assert token_for(ADDRESS) == "of another process"
        records.prune()
        assert token_for(ADDRESS) == "of another process"


def test_claim_is_refused_when_record_is_not_written_yet() -> None:
    """Of two that start at the same time one gets the address."""
    claim = claims.claim(ADDRESS)
    with pytest.raises(StartupError, match="starting or stopping"):
        claims.claim(ADDRESS)
    claim.release()


def test_claim_takes_over_when_server_died() -> None:
    """What a killed server left is removed, and its address free."""
    with server() as first:
        first.kill()
        first.wait()
    place = folders.folder(*ADDRESS)
    assert os.path.exists(place.token)
    assert records.find(ADDRESS) is None
    claim = claims.claim(ADDRESS)
    assert not os.path.exists(place.token)
    assert not os.path.exists(place.record)
    claim.release()


@fork_only
def test_lock_is_free_when_forked_child_closed_its_copy() -> None:
    """A child that closes its copy of the lock leaves the address to the next server."""
    fork = (
        "child = os.fork()\n"
        "if not child: claim.close_in_child()\n"
        "if not child: print(os.getpid(), flush=True)"
    )
    with server(fork) as first:
        assert first.stdout is not None
        child = int(first.stdout.readline())
        start = processes.start_time(child)
        assert start is not None
        assert token_for(ADDRESS) == "of another process"
        first.kill()
        first.wait()
        try:
            claims.claim(ADDRESS).release()
        finally:
            os.kill(child, signal.SIGKILL)
            assert processes.ProcessId(child, start).wait(60)


@fork_only
def test_release_leaves_server_alone_when_called_in_forked_child() -> None:
    """A forked child that cleans up doesn't take its parent off the map."""
    fork = (
        "child = os.fork()\n"
        "if not child:\n    claim.release()\n    os._exit(0)\n"
        "os.waitpid(child, 0)\nprint('released', flush=True)"
    )
    with server(fork) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"released\n"
        assert token_for(ADDRESS) == "of another process"


def test_claim_that_was_released_is_not_renewed(claim: claims.Claim) -> None:
    """Though its lock is another's, or nobody's, by then."""
    claim.release()
    assert not claim.renew()
    claims.claim(ADDRESS).release()


def test_claim_removes_unfinished_files_when_their_writer_was_killed() -> None:
    """A token that was being written does not lie about when its server is dead."""
    place = claims.claim(ADDRESS)
    place.release()
    unfinished = [f"{path}.0123abcd.new" for path in (place.folder.token, place.folder.record)]
    for path in unfinished:
        with open(path, "x", encoding="utf-8") as file:
            file.write("half of it")
    claims.claim(ADDRESS).release()
    assert not any(map(os.path.exists, unfinished))


@pytest.mark.skipif(sys.platform == "win32", reason="what is open can't be removed there")
def test_claim_is_renewed_where_its_folder_was_removed(claim: claims.Claim) -> None:
    """By a cleaner, below the server that runs: clients find it again, and its end is in order."""
    assert not claim.renew()
    shutil.rmtree(folders.home())
    assert records.find(ADDRESS) is None
    assert claim.renew()
    assert not claim.renew()
    assert records.find(ADDRESS) == own_record()
    assert token_for(ADDRESS) == "secret"
    shutil.rmtree(folders.home())
    claim.release()
    assert not claim.renew()  # the thread that tends the server may look once more
    assert not os.path.exists(folders.home())


@pytest.mark.skipif(sys.platform == "win32", reason="what is open can't be removed there")
def test_claim_leaves_another_server_alone_that_has_its_place_by_now(claim: claims.Claim) -> None:
    """Whose record and lock stay when the first ends."""
    shutil.rmtree(folders.home())
    other = claims.claim(ADDRESS)
    other.write(own_record(), "other")
    with pytest.raises(StartupError):
        claim.renew()
    claim.release()
    assert token_for(ADDRESS) == "other"
    other.release()


@pytest.mark.skipif(sys.platform == "win32", reason="what is open can't be removed there")
def test_claim_that_is_released_while_it_is_renewed_leaves_nothing(
    claim: claims.Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that comes second sees what the first has done."""
    shutil.rmtree(folders.home())
    ending = threading.Thread(target=claim.release)
    again = claims.claim

    def slowly(*given: Any) -> claims.Claim:
        ending.start()
        ending.join(0.5)  # which it reaches if it may go on, and doesn't have to
        return again(*given)

    monkeypatch.setattr(claims, "claim", slowly)
    assert claim.renew()
    ending.join()
    assert not os.path.exists(claim.folder.record)
    assert not os.path.exists(claim.folder.token)
    again(ADDRESS).release()
