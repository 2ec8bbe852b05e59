"""The handshake: who holds the token gets through, nobody else, whatever they send."""

from __future__ import annotations

import hmac
import struct
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpy.errors import (
    AuthenticationError,
    NotBgpy,
    RemoteProtocolError,
    VersionMismatch,
)
from bgpy.wire.handshake import (
    HELLO_SIZE,
    MAGIC,
    PROOF_SIZE,
    SERVER_HELLO_SIZE,
    WELCOME_SIZE,
    ClientHandshake,
    Refusal,
    ServerHandshake,
    ServerTerms,
    Welcome,
    derive_key,
)

TOKEN = "t" * 32
CLIENT_ID = bytes(range(16))
SERVER_ID = bytes(range(16, 32))
TERMS = ServerTerms(2**31, 1024, 0b11)
WELCOME = Welcome(b"i" * 16, b"b" * 16, 2**64 - 1, 2**32 - 1, (3, 11, 255), "1.0.0.dev0")


def client(token: str | None = TOKEN, binding: bytes = b"", nonce: bytes = b"c" * 32):
    return ClientHandshake(CLIENT_ID, nonce, token, binding)


def server(token: str = TOKEN, binding: bytes = b"", nonce: bytes = b"s" * 32, **more):
    key = derive_key(token, SERVER_ID)
    return ServerHandshake(SERVER_ID, nonce, key, TERMS, WELCOME, lambda: binding, **more)


def exchange() -> list[bytes]:
    """All four messages of a handshake that succeeds."""
    ours, theirs = client(), server()
    hello = ours.hello()
    answer = theirs.receive(hello)
    proof = ours.receive(answer)
    return [hello, answer, proof, theirs.receive(proof)]


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("token", [TOKEN, "short", "ü" * 40])
@pytest.mark.parametrize("binding", [b"", b"f" * 32])
def test_handshake_succeeds_when_both_hold_the_token(size, token, binding) -> None:
    """Both sides end up done and knowing each other, in pieces of any size."""
    ours, theirs = client(token, binding), server(token, binding)
    to_server = ours.hello()
    while to_server:
        to_client = b"".join(map(theirs.receive, pieces(to_server, size)))
        to_server = b"".join(map(ours.receive, pieces(to_client, size)))
    assert ours.done
    assert theirs.done
    assert (ours.welcome, ours.terms, ours.server_id) == (WELCOME, TERMS, SERVER_ID)
    assert (theirs.client_id, theirs.role, theirs.refused) == (CLIENT_ID, 0, None)
    assert (ours.rest, theirs.rest) == (b"", b"")


def test_messages_have_their_documented_sizes() -> None:
    """Every message of the handshake has a fixed size."""
    sizes = [HELLO_SIZE, SERVER_HELLO_SIZE, PROOF_SIZE, WELCOME_SIZE]
    assert list(map(len, exchange())) == sizes == [60, 108, 32, 80]


def test_handshake_keeps_what_trails_it_when_frames_follow_at_once() -> None:
    """Bytes after the last message of a side are its `rest`."""
    hello, answer, proof, welcome = exchange()
    ours, theirs = client(), server()
    assert theirs.receive(hello) == answer
    assert theirs.receive(proof + b"frames") == welcome
    assert theirs.rest == b"frames"
    assert ours.receive(answer) == proof
    assert ours.receive(welcome + b"more") == b""
    assert ours.rest == b"more"


def test_client_takes_the_welcome_when_it_comes_with_the_server_hello() -> None:
    """No message needs a read of its own."""
    _, answer, proof, welcome = exchange()
    ours = client()
    assert ours.receive(answer + welcome) == proof
    assert ours.done


@pytest.mark.parametrize(("ours", "theirs"), [(TOKEN, "u" * 32), ("short", TOKEN), ("a", "b")])
def test_client_sends_no_proof_when_the_tokens_differ(ours, theirs) -> None:
    """A server that holds another token learns nothing, and the error stays."""
    mine = client(ours)
    answer = server(theirs).receive(mine.hello())
    for _ in range(2):
        with pytest.raises(AuthenticationError, match="token"):
            mine.receive(answer)
    assert not mine.done


@pytest.mark.parametrize("token", [None, ""])
def test_client_asks_for_a_token_when_it_has_none(token) -> None:
    """The error says where to put the token, once it is clear that one is needed."""
    mine = client(token)
    with pytest.raises(AuthenticationError, match="BGPY_TOKEN"):
        mine.receive(server().receive(mine.hello()))


@pytest.mark.parametrize("proof", [b"p" * 32, bytes(32)])
def test_server_sends_no_welcome_when_the_proof_is_wrong(proof) -> None:
    """Who doesn't hold the token gets nothing, and the error stays."""
    theirs = server()
    theirs.receive(client().hello())
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            theirs.receive(proof)
    assert not theirs.done


def test_server_refuses_a_proof_when_it_is_its_own_reflected() -> None:
    """The server's proof is worth nothing in the other direction."""
    theirs = server()
    answer = theirs.receive(client().hello())
    with pytest.raises(AuthenticationError):
        theirs.receive(answer[-PROOF_SIZE:])


def test_server_refuses_a_proof_when_it_is_replayed() -> None:
    """A proof holds for the nonce of one connection only."""
    hello, _, proof, _ = exchange()
    theirs = server(nonce=b"S" * 32)
    theirs.receive(hello)
    with pytest.raises(AuthenticationError):
        theirs.receive(proof)


def test_client_refuses_a_server_when_its_hello_is_replayed() -> None:
    """A recorded server hello doesn't answer another client nonce."""
    _, answer, _, _ = exchange()
    with pytest.raises(AuthenticationError):
        client(nonce=b"C" * 32).receive(answer)


@pytest.mark.parametrize("bindings", [(b"x" * 32, b"y" * 32), (b"", b"y" * 32), (b"x" * 32, b"")])
def test_handshake_fails_when_the_channel_bindings_differ(bindings) -> None:
    """A relay between two TLS connections doesn't get through."""
    mine = client(binding=bindings[0])
    with pytest.raises(AuthenticationError):
        mine.receive(server(binding=bindings[1]).receive(mine.hello()))


@pytest.mark.parametrize("at", range(8, SERVER_HELLO_SIZE))
def test_client_refuses_the_server_when_one_byte_of_its_hello_is_changed(at) -> None:
    """Every byte of the server hello is covered by its proof."""
    _, answer, _, _ = exchange()
    changed = bytearray(answer)
    changed[at] ^= 0x40
    mine = client()
    with pytest.raises((AuthenticationError, VersionMismatch)):
        mine.receive(changed)
    assert not mine.done


@pytest.mark.parametrize("at", range(8, HELLO_SIZE))
def test_handshake_fails_when_one_byte_of_the_client_hello_is_changed_on_the_way(at) -> None:
    """Every byte of the hello is covered by the server's proof, or refused."""
    mine = client()
    changed = bytearray(mine.hello())
    changed[at] ^= 0x40
    theirs = server()
    answer = theirs.receive(changed)
    if theirs.refused:
        with pytest.raises((RemoteProtocolError, VersionMismatch)):
            mine.receive(answer)
    else:
        with pytest.raises(AuthenticationError):
            mine.receive(answer)


def hello(lowest: int = 2, highest: int = 2, flags: int = 0, role: int = 0) -> bytes:
    return struct.pack("<8sBBBB16s32s", MAGIC, lowest, highest, flags, role, CLIENT_ID, b"c" * 32)


@pytest.mark.parametrize(
    ("data", "more", "reason", "text"),
    [
        (hello(3, 9), {}, Refusal.VERSION, "it speaks versions 3 to 9, this server version 2"),
        (hello(0, 0), {}, Refusal.VERSION, "version 0"),
        (hello(1, 1), {}, Refusal.VERSION, "it speaks version 1, this server version 2"),
        (hello(3, 1), {}, Refusal.VERSION, "versions 3 to 1"),
        (hello(3, 2), {}, Refusal.VERSION, "versions 3 to 2"),
        (hello(role=1), {}, Refusal.ROLE, "role 1"),
        (hello(flags=0x80), {}, Refusal.FLAGS, "0x80"),
        (hello(), {"refusal": Refusal.TOKEN}, Refusal.TOKEN, "token"),
    ],
)
def test_server_refuses_a_hello_when_it_cannot_go_on(data, more, reason, text) -> None:
    """A refusal has the size of a server hello, says why, and proves nothing."""
    theirs = server(**more)
    refusal = theirs.receive(data + b"anything" * 20)
    assert refusal == MAGIC + bytes([0, 2, 2, reason]) + bytes(SERVER_HELLO_SIZE - 12)
    assert text in (theirs.refused or "")
    assert theirs.receive(data) == b""
    assert not theirs.done


def test_server_chooses_its_highest_version_when_the_client_speaks_later_ones() -> None:
    """Versions are negotiated, not compared."""
    for lowest, highest in ((0, 2), (1, 200), (2, 3), (2, 255)):
        answer = server().receive(hello(lowest, highest))
        assert (len(answer), answer[8]) == (SERVER_HELLO_SIZE, 2)


@pytest.mark.parametrize("version", [1, 3, 255])
def test_client_goes_no_further_when_the_server_chose_a_version_it_does_not_speak(version) -> None:
    """A server that chose wrongly is not sent a proof."""
    answer = bytearray(server().receive(hello()))
    answer[8] = version
    with pytest.raises(VersionMismatch, match=f"chose version {version} .* this side version 2:"):
        client().receive(answer)


@pytest.mark.parametrize(
    ("reason", "error", "text"),
    [
        (
            Refusal.VERSION,
            VersionMismatch,
            "speaks versions 4 to 6 of the protocol, this side version 2:",
        ),
        (Refusal.ROLE, RemoteProtocolError, "reason 2"),
        (Refusal.TOKEN, AuthenticationError, "at least 32 characters"),
        (Refusal.FLAGS, RemoteProtocolError, "reason 4"),
        (99, RemoteProtocolError, "reason 99"),
    ],
)
def test_client_says_why_when_it_was_refused(reason, error, text) -> None:
    """Each refusal is an error that says what to do."""
    refusal = MAGIC + bytes([0, 4, 6, reason]) + bytes(SERVER_HELLO_SIZE - 12)
    with pytest.raises(error, match=text):
        client(None).receive(refusal)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"GET / HTTP/1.1\r\n", "HTTP"),
        (b"HTTP/1.0 400", "HTTP"),
        (b"\x16\x03\x01\x02\x00", "TLS"),
        (b"\x15\x03\x03", "TLS"),
        (b"SSH-2.0-x", "SSH"),
        (b"\x80\x04\x95", "80 04 95"),
        (MAGIC[:7] + b"\r", "b9 62 67 70 79 0d 0a 0d"),
    ],
)
@pytest.mark.parametrize("side", [client, server])
def test_handshake_raises_not_bgpy_when_the_other_side_speaks_something_else(
    side, data, text
) -> None:
    """The error says what was seen, and stays."""
    peer = side()
    for _ in range(2):
        with pytest.raises(NotBgpy, match=text):
            peer.receive(data)


@pytest.mark.parametrize("at", range(8))
@pytest.mark.parametrize("side", [client, server])
def test_handshake_raises_not_bgpy_when_the_first_wrong_byte_arrives(side, at) -> None:
    """No byte after the first wrong one is waited for."""
    peer = side()
    for byte in MAGIC[:at]:
        assert peer.receive(bytes([byte])) == b""
    with pytest.raises(NotBgpy):
        peer.receive(b"X")


@settings(max_examples=150)
@given(
    st.integers(0, 4),
    st.sampled_from([client, server]),
    st.lists(st.binary(max_size=150), max_size=4),
)
def test_handshake_raises_a_documented_error_or_none_when_fed_any_bytes(stage, side, data) -> None:
    """At every stage, any bytes end in a documented error or in nothing, never in success."""
    first, answer, _, _ = exchange()
    peer = side()
    # A part of what is expected, so that the bytes meet every stage.
    start = {0: b"", 1: MAGIC, 2: MAGIC + b"\1\1", 3: first, 4: first}[stage]
    if side is client:
        start = {0: b"", 1: MAGIC, 2: MAGIC + b"\1\1\1", 3: answer[:80], 4: answer}[stage]
    try:
        peer.receive(start)
        for piece in data:
            peer.receive(piece)
    except (NotBgpy, AuthenticationError, VersionMismatch, RemoteProtocolError):
        assert not peer.done
    # What follows a server hello that is proved is taken for the welcome.
    assert not peer.done or (side is client and stage == 4)


def test_server_keeps_no_more_than_a_message_when_it_is_flooded_before_the_proof() -> None:
    """Memory before the proof is constant, whatever arrives."""
    theirs = server()
    with pytest.raises(AuthenticationError):
        theirs.receive(client().hello() + bytes(10_000_000))
    assert theirs.rest == b""
    assert len(theirs._received) <= HELLO_SIZE


def test_key_is_the_hash_of_the_token_when_the_token_is_long() -> None:
    """32 characters are enough for a plain hash, whatever the server."""
    assert derive_key("ü" * 32, SERVER_ID) == sha256("ü".encode() * 32).digest()
    assert derive_key("ü" * 32, CLIENT_ID) == derive_key("ü" * 32, SERVER_ID)


def test_key_is_stretched_for_each_server_when_the_token_is_short() -> None:
    """Below 32 characters it depends on the server, and isn't a plain hash."""
    token = "x" * 31
    assert derive_key(token, SERVER_ID) != sha256(token.encode()).digest()
    assert derive_key(token, SERVER_ID) != derive_key(token, CLIENT_ID)


def test_key_is_refused_when_the_token_is_empty() -> None:
    """An empty token is no token."""
    with pytest.raises(ValueError, match="empty"):
        derive_key("", SERVER_ID)


def test_proofs_are_compared_in_constant_time(monkeypatch) -> None:
    """Both sides compare with `hmac.compare_digest`."""
    compared = []

    def compare(first: bytes, second: bytes) -> bool:
        compared.append((first, second))
        return first == second

    monkeypatch.setattr(hmac, "compare_digest", compare)
    exchange()
    assert [len(first) for first, _ in compared] == [32, 32]
    assert hmac.compare_digest is compare


@pytest.mark.parametrize(
    ("version", "seen"), [("1.2.3+ü", "1.2.3+?"), ("9" * 40, "9" * 32), ("", "")]
)
def test_welcome_names_the_version_when_it_is_odd(version, seen) -> None:
    """A version that doesn't fit is cut, not an error at each connection."""
    mine = client()
    key = derive_key(TOKEN, SERVER_ID)
    welcome = WELCOME._replace(version=version)
    theirs = ServerHandshake(SERVER_ID, b"s" * 32, key, TERMS, welcome)
    mine.receive(theirs.receive(mine.receive(theirs.receive(mine.hello()))))
    assert mine.welcome.version == seen


@pytest.mark.parametrize("change", [(47, 33), (48, 0xFF)])
def test_client_refuses_the_welcome_when_its_version_is_unreadable(change) -> None:
    """A welcome with a wrong length or wrong characters breaks the protocol."""
    _, answer, _, welcome = exchange()
    changed = bytearray(welcome)
    changed[change[0]] = change[1]
    mine = client()
    mine.receive(answer)
    with pytest.raises(RemoteProtocolError, match="version"):
        mine.receive(changed)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ClientHandshake(b"", b"c" * 32, TOKEN),
        lambda: ClientHandshake(CLIENT_ID, b"c", TOKEN),
        lambda: ClientHandshake(CLIENT_ID, b"c" * 32, TOKEN, b"half"),
        lambda: ServerHandshake(b"", b"s" * 32, b"k", TERMS, WELCOME),
        lambda: ServerHandshake(SERVER_ID, b"s", b"k", TERMS, WELCOME),
    ],
)
def test_handshake_raises_value_error_when_it_is_made_with_wrong_sizes(make) -> None:
    """Ids, nonces and bindings have fixed sizes."""
    with pytest.raises(ValueError, match=r"bytes|binding"):
        make()
