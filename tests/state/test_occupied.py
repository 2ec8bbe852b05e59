"""Truths of who has an address: a server of this account is named, whatever it was given."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bgpy.address import Address
from bgpy.state import claims, folders
from bgpy.state.occupied import by_own
from tests.support.claimed import own_record

PORT = 54399


def _asks(wanted: Address) -> str:
    """What the one who wants it is told; empty if no server of this account has it."""
    error = by_own(wanted, folders.folder(*wanted))
    return "" if error is None else str(error)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.1", "::1", "10.0.0.7", "fe80::1%lo"])
def test_claim_is_found_from_another_address_that_takes_its_port(host: str) -> None:
    """Before its server has written a record, and after, with the process and what ends it."""
    claim = claims.claim((host, PORT))
    try:
        wanted = Address("::" if host != "::" else "10.1.2.3", PORT)
        there = Address(host, PORT)
        assert _asks(wanted).startswith(
            f"another bgpy server is just starting or stopping at {there}, which takes {wanted}"
        )
        record = dataclasses.replace(own_record(), host=host, port=PORT)
        claim.write(record, None)
        error = by_own(wanted, folders.folder(*wanted))
        assert error is not None
        assert error.pid == record.pid
        assert f"'bgpy terminate {there}'" in error.text("cli")
        assert _asks(there) == ""  # its own claim is nobody else's
        assert _asks(wanted._replace(port=PORT + 1)) == ""
    finally:
        claim.release()
    assert _asks(wanted) == ""


@pytest.mark.parametrize("name", ["s", "s" * 100])
def test_socket_is_found_by_another_path_that_leads_there(name: str) -> None:
    """Through a link; also where the path is too long to be a folder's name."""
    real = Path("/tmp") / ("folder" * 20)
    claim = claims.claim((f"unix:{real}/{name}", 0))
    try:
        record = dataclasses.replace(own_record(), host=f"unix:{real}/{name}", port=0)
        claim.write(record, None)
        assert "already running at" in _asks(Address(f"unix:{real}/x/../{name}", 0))
        assert _asks(Address(f"unix:{real}/other", 0)) == ""
        assert _asks(Address("127.0.0.1", 0)) == ""
    finally:
        claim.release()


@pytest.mark.parametrize(
    ("host", "port"),
    [("127.0.0.1", 5), ("::1", 0), ("fe80::1%lo", 65535), ("box_of-mine.example", 9)],
)
def test_name_of_a_folder_tells_its_address(host: str, port: int) -> None:
    """What was made safe for a file name is read back."""
    name = Path(folders.folder(host, port).path).name
    assert folders.address_of(name) == (host, port)


def test_hashed_name_of_a_folder_tells_nothing() -> None:
    """That of a path which is longer than a file's name can be."""
    assert folders.address_of(Path(folders.folder("unix:/" + "x" * 300, 0).path).name) is None
