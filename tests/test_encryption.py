"""Whether connections to an address are encrypted: the one table."""

from __future__ import annotations

import pytest

from bgpy import Client, Server
from bgpy.address import Address, parse
from bgpy.encryption import Encryption, Reach, check_token, encryption, reach
from bgpy.errors import ArgumentError

NONE, ALWAYS, EITHER = Encryption
REFUSED, LATER = "refused", None
PLACES = {
    "unix:/x": Reach.ACCOUNT,
    "127.0.0.1:5": Reach.MACHINE,
    "[::1]:5": Reach.MACHINE,
    "0.0.0.0:5": Reach.OTHERS,
    "192.0.2.1:5": Reach.OTHERS,
    "[fe80::1%lo]:5": Reach.OTHERS,
    "box:5": Reach.UNKNOWN,
}
CLIENT = {}
SERVER = {"plain_loopback": True}
STRICT = {"plain_loopback": False}
CERTIFIED = {"certificate": True, "plain_loopback": True}
#                               tls: None     True     False
TABLE = [
    (Reach.ACCOUNT, CLIENT, (NONE, REFUSED, NONE)),
    (Reach.ACCOUNT, SERVER, (NONE, REFUSED, NONE)),
    (Reach.ACCOUNT, CERTIFIED, (REFUSED, REFUSED, REFUSED)),
    (Reach.MACHINE, CLIENT, (NONE, ALWAYS, NONE)),
    (Reach.MACHINE, SERVER, (NONE, ALWAYS, NONE)),
    (Reach.MACHINE, CERTIFIED, (REFUSED, ALWAYS, REFUSED)),
    (Reach.OTHERS, CLIENT, (ALWAYS, ALWAYS, REFUSED)),
    (Reach.OTHERS, SERVER, (EITHER, EITHER, REFUSED)),
    (Reach.OTHERS, STRICT, (ALWAYS, ALWAYS, REFUSED)),
    (Reach.OTHERS, CERTIFIED, (EITHER, EITHER, REFUSED)),
    (Reach.UNKNOWN, CLIENT, (LATER, LATER, LATER)),
    (Reach.UNKNOWN, SERVER, (LATER, LATER, LATER)),
    (Reach.UNKNOWN, CERTIFIED, (LATER, LATER, REFUSED)),
]


@pytest.mark.parametrize("text", PLACES)
def test_encryption_is_decided_by_who_can_get_there(text: str) -> None:
    """Each address has one reach, and each reach one row for who asks."""
    place = parse(text)
    assert reach(place) is PLACES[text]
    for where, side, row in TABLE:
        if where is not PLACES[text]:
            continue
        for tls, expected in zip((None, True, False), row, strict=True):
            if expected is REFUSED:
                with pytest.raises(ArgumentError) as caught:
                    encryption(place, tls, **side)
                assert isinstance(caught.value, ValueError)
                assert caught.value.advice is not None
            else:
                assert encryption(place, tls, **side) is expected, (text, side, tls)


@pytest.mark.parametrize(
    ("text", "given", "api", "cli"),
    [
        ("unix:/x", {"tls": True}, "leave tls=True out", "leave --tls out"),
        ("unix:/x", {"certfile": "c"}, "leave certfile out", "leave --certfile out"),
        ("127.0.0.1:0", {"certfile": "/nope"}, "give tls=True as well", "give --tls as well"),
        ("box:0", {"certfile": "c", "tls": False}, "give tls=True as well", "give --tls as well"),
        ("0.0.0.0:0", {"tls": False}, "leave tls=False out", "127.0.0.1"),
        ("[::]:0", {"token": "short"}, "token_create()", "unset BGPY_TOKEN"),
    ],
)
def test_server_refuses_at_once_what_does_not_fit_its_address(
    text: str, given: dict[str, object], api: str, cli: str
) -> None:
    """As README promises: before anything runs, in the words of either interface."""
    with pytest.raises(ArgumentError) as caught:
        Server(text, **given)  # type: ignore[arg-type]
    assert isinstance(caught.value, ValueError)
    assert api in caught.value.text("api")
    assert cli in caught.value.text("cli")


@pytest.mark.parametrize(("text", "tls"), [("unix:/x", True), ("192.0.2.1:5", False)])
def test_client_refuses_at_once_what_does_not_fit_its_address(text: str, tls: bool) -> None:
    """As the server does; a server on all interfaces is dialled over loopback."""
    with pytest.raises(ArgumentError):
        Client(text, tls=tls)
    Client("0.0.0.0:5", tls=False)


def test_short_token_is_for_this_machine_alone() -> None:
    """Others could guess it."""
    for host in ("127.0.0.1", "box", "unix:/x"):
        check_token(Address(host, 0), "x")
    check_token(Address("0.0.0.0", 0), "x" * 32)
    with pytest.raises(ArgumentError, match="31 characters"):
        check_token(Address("0.0.0.0", 0), "x" * 31)
