"""TLS without sockets: however it is cut, the same comes out; what is wrong comes to nothing."""

from __future__ import annotations

import ssl
from hashlib import sha256
from types import BuiltinFunctionType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bgpy.tls.layer import FIRST_BYTE, RECORD, NotTls, TlsLayer
from tests.support.ends import (
    PEM,
    client_of,
    encrypted,
    engines,
    established,
    receive,
    server_identity,
    server_of,
)

WHOLE = [2**20]
LONGEST = 5 + RECORD + 256
"""Bytes of a record that is received and isn't whole yet, at most."""

cuts = st.lists(st.integers(1, 40_000), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 70_000), min_size=1, max_size=4),
    cuts,
    st.integers(RECORD, 5 * RECORD),
)
@example([RECORD], [1], RECORD)
@example([RECORD * 4], WHOLE, RECORD)
@example([RECORD * 4, 1], WHOLE, RECORD + 1)
@example([1, 2, 3, 70_000], [5], RECORD)
@example([RECORD - 1, RECORD], [RECORD + 21, 1], 2 * RECORD)
@example([100, 100, 100], [122], RECORD)
def test_decrypt_gives_what_was_encrypted_when_ciphertext_is_cut_anywhere(
    sizes: list[int], cuts: list[int], memory: int
) -> None:
    """Byte by byte, whole or in parts, into memory of a record or more: nothing is held back."""
    sender, receiver = established()
    data = [bytes(number % 251 for number in range(size)) for size in sizes]
    ciphertext = b"".join(encrypted(sender, each) for each in data)
    assert receive(receiver, ciphertext, cuts, memory) == b"".join(data)
    assert not receiver.partial


@pytest.mark.parametrize("cut", [1, 3, 2**20])
def test_engines_agree_when_their_words_are_cut_anywhere(cut: int) -> None:
    """Both ways data goes afterwards, and the client knows the certificate."""
    client, server = established([cut])
    assert receive(server, encrypted(client, b"there"), [cut]) == b"there"
    assert receive(client, encrypted(server, b"and back"), [cut]) == b"and back"
    expected = sha256(ssl.PEM_cert_to_DER_cert(PEM[PEM.index(b"-----BEGIN CERT") :].decode()))
    assert client.peer_fingerprint() == expected.digest() == server_identity().binding


def test_decrypt_gives_data_that_came_with_the_end_of_the_handshake() -> None:
    """A client may send at once with its last word: nobody polls for that again."""
    client, server = engines()
    client.begin()
    receive(server, client.words.read())
    receive(client, server.words.read())
    together = encrypted(client, b"at once")
    assert not server.established
    assert receive(server, together) == b"at once"
    assert server.established


def test_decrypt_tells_the_end_when_the_other_side_says_so() -> None:
    """Data before it is given all the same; the end is told then and from then on."""
    client, server = established()
    ciphertext = encrypted(client, b"last")
    client.end()
    assert receive(server, ciphertext + client.words.read()) == b"last"
    assert server.ended


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=1, max_size=300), cuts)
@example(b"GET / HTTP/1.1\r\n\r\n", WHOLE)
@example(b"\x16\x03\x01\xff\xff", [1])
@example(b"\x16\x03\x01\x00\x00" * 60, WHOLE)
@example(b"\x14\x03\x03\x00\x01\x01" * 50, WHOLE)
@example(b"\x17\x03\x03\x00\x01\x01" * 50, [6])
def test_garbage_is_refused_or_gives_nothing_when_nothing_was_agreed(
    garbage: bytes, cuts: list[int]
) -> None:
    """No stranger's bytes become data, or more than a record of them is kept."""
    _, server = engines()
    try:
        assert receive(server, garbage, cuts) == b""
    except NotTls:
        return
    assert len(server.partial) <= LONGEST
    assert not server.established


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3 * 1022 - 1), st.integers(1, 255), cuts)
@example(3, 64, WHOLE)  # the length of the record
@example(0, 1, WHOLE)
@example(1, 1, [1])
def test_changed_byte_is_refused_when_it_is_anywhere(at: int, change: int, cuts: list[int]) -> None:
    """What came before it is given, and nothing behind it; the error comes by the next record."""
    sender, receiver = established()
    data = bytes(range(250)) * 4
    ciphertext = bytearray(b"".join(encrypted(sender, data) for _ in range(3)))
    assert len(ciphertext) == 3 * 1022
    ciphertext[at] ^= change
    record = at // 1022
    # Enough for the longest record that a changed length can speak of.
    ciphertext += bytes(LONGEST)
    memory = memoryview(bytearray(RECORD))
    plain = bytearray()
    with pytest.raises(NotTls):  # noqa: PT012
        rest = memoryview(ciphertext)
        lengths = [*cuts, 2**20]
        while rest:
            part = rest[: min(receiver.room(RECORD), lengths[0])]
            lengths = lengths[1:] + lengths[:1]
            plain += memory[: receiver.decrypt(part, memory)]
            rest = rest[len(part) :]
    assert data * record == bytes(plain) or (data * record).startswith(bytes(plain))


@pytest.mark.parametrize(
    "header", [b"\x17\x03\x03\x41\x01", b"\x17\x03\x03\xff\xff", b"\x17\x02\x03\0\1"]
)
def test_record_that_can_not_be_is_refused_at_its_header(header: bytes) -> None:
    """Too long, or of another protocol: nobody waits for the rest of it."""
    _, server = established()
    with pytest.raises(NotTls):
        receive(server, header, [1])


@pytest.mark.parametrize("cut", [1, 3, 100])
@pytest.mark.parametrize("announced", [RECORD, 131_000, 2**24 - 1])
def test_hello_that_announces_more_than_its_record_is_refused(announced: int, cut: int) -> None:
    """Memory for it would be taken from whoever can connect."""
    _, server = engines()
    hello = (b"\x01" + announced.to_bytes(3) + b"\x03\x03" + bytes(100))[:cut]
    with pytest.raises(NotTls, match="hello"):
        receive(server, b"\x16\x03\x01" + len(hello).to_bytes(2) + hello)


@pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.MINIMUM_SUPPORTED], ids=["1.2", "oldest"]
)
def test_client_that_speaks_less_than_tls_1_3_is_refused_with_a_word(
    version: ssl.TLSVersion,
) -> None:
    """The alert tells its side why."""
    old = client_of(ssl.TLSVersion.TLSv1_2)
    old.minimum_version = version
    client, (_, server) = TlsLayer(old, False), engines()
    client.begin()
    with pytest.raises(NotTls):
        receive(server, client.words.read())
    alert = server.words.read()
    assert (alert[0], alert[5:7]) == (21, b"\x02\x46")  # fatal: protocol_version


def test_server_that_speaks_less_than_tls_1_3_is_refused_by_the_client() -> None:
    """Nobody in the middle can talk a client down."""
    old, (client, server) = server_of(ssl.TLSVersion.TLSv1_2), engines()
    server = TlsLayer(old, True)
    client.begin()
    with pytest.raises(NotTls):
        receive(server, client.words.read())
    with pytest.raises(NotTls):
        receive(client, server.words.read())


def test_first_byte_of_a_client_is_the_one_that_tells_tls_apart() -> None:
    """And none that a plain hello could begin with."""
    client, _ = engines()
    client.begin()
    assert client.words.read()[0] == FIRST_BYTE


def test_openssl_is_called_without_a_function_of_pythons_between() -> None:
    """In one of those a signal's handler could raise when data has been encrypted already."""
    layer, _ = engines()
    for each in (layer.read, layer.write, layer.feed, layer.read_words):
        assert isinstance(each, BuiltinFunctionType)
