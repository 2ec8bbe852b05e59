"""The handshake: both sides prove that they hold the token, before anything else.

Fixed sizes, little-endian, no pickle::

    client ► server   hello         60 bytes
    client ◄ server   server hello 108 bytes, its last 32 the server's proof
    client ► server   proof         32 bytes
    client ◄ server   welcome       80 bytes

Each proof is an HMAC-SHA256 over everything before it, so over the nonces and ids of
both sides, plus the channel binding (over TLS the SHA-256 of the server's certificate).
The token never crosses the wire, a proof is worth nothing on another connection or in
the other direction, and the server proves itself first: a client sends nothing that
depends on the token to a server that doesn't hold it.

A server that rejects a client answers its hello with a refusal: a server hello with version
0, the versions that it speaks, a `Refusal` and zeros. Then it closes.

`ClientHandshake` and `ServerHandshake` take bytes as they come and give bytes to send.
They keep no more than the message under way.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from bgpy.digests import equal, hmac_sha256, scrypt, sha256
from bgpy.errors import (
    Advice,
    AuthenticationError,
    BgpyError,
    NotBgpy,
    ProtocolError,
    RemoteProtocolError,
    VersionMismatch,
)

MAGIC = b"\xb9bgpy\r\n\n"
MIN_VERSION = 2
MAX_VERSION = 2
ROLE_FULL = 0
"""The role that may send code; the only one so far."""
LONG_TOKEN = 32
"""Tokens of at least this many characters are used without stretching."""

_hello = struct.Struct("<8sBBBB16s32s")
_server_hello = struct.Struct("<8sBBBBIIQ16s32s")
_welcome = struct.Struct("<16s16sQIBBBB32s")
PROOF_SIZE = 32
HELLO_SIZE = _hello.size
SERVER_HELLO_SIZE = _server_hello.size + PROOF_SIZE
WELCOME_SIZE = _welcome.size


class Refusal(IntEnum):
    """Why a server refused a hello."""

    VERSION = 1
    ROLE = 2
    TOKEN = 3
    FLAGS = 4


class ServerTerms(NamedTuple):
    """The limits of one connection, for messages in both directions, as the server says.

    `max_message` in bytes, `codecs` a bit mask: bit n stands for codec n.
    """

    max_message: int
    max_buffers: int
    codecs: int = 0b11


class Welcome(NamedTuple):
    """Identifies the server process that answers. Ids are 16 bytes; 0 means unknown."""

    incarnation: bytes
    boot_id: bytes
    pid_namespace: int
    pid: int
    python: tuple[int, int, int]
    version: str


@lru_cache(maxsize=16)
def derive_key(token: str, server_id: bytes) -> bytes:
    """Give the 32 bytes that the proofs are keyed with.

    A token below `LONG_TOKEN` characters is stretched with scrypt, which takes about
    45 ms and 16 MiB once per server. Raises `ValueError` for an empty token.
    """
    if not token:
        raise ValueError("the token is empty: give one, such as token_create() makes")
    secret = token.encode("utf-8", "surrogatepass")
    if len(token) >= LONG_TOKEN:
        return sha256(secret)
    return scrypt(secret, salt=server_id)


def _proof(key: bytes, side: bytes, transcript: bytes) -> bytes:
    return hmac_sha256(key, side + transcript)


def _encode_welcome(welcome: Welcome) -> bytes:
    version = welcome.version.encode("ascii", "replace")[:32]
    return _welcome.pack(*welcome[:4], *welcome.python, len(version), version)


def _decode_welcome(data: bytes) -> Welcome:
    incarnation, boot_id, namespace, pid, major, minor, micro, length, text = _welcome.unpack(data)
    version = text[:length]
    if length > 32 or not version.isascii():
        raise RemoteProtocolError("the server's welcome has a version that isn't ASCII text")
    python = (major, minor, micro)
    return Welcome(incarnation, boot_id, namespace, pid, python, version.decode("ascii"))


def _check_magic(data: bytearray) -> None:
    if data[:8] == MAGIC[: len(data)]:
        return
    spoken = _recognised(bytes(data))
    seen = (
        f"this looks like {spoken}" if spoken else f"its first bytes are {_shown(bytes(data[:8]))}"
    )
    error = NotBgpy(f"the other side doesn't speak bgpy's protocol: {seen}")
    error.speaks = spoken
    raise error


def _shown(data: bytes) -> str:
    """Bytes as text in quotes where they are text, else in hexadecimal."""
    text = data.decode("latin-1")
    plain = text.isascii() and all(each.isprintable() or each in "\r\n\t" for each in text)
    return repr(text) if plain else data.hex(" ")


def _recognised(data: bytes) -> str | None:
    """The protocol that the first bytes belong to; None if they show none."""
    if data.startswith((b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"HTTP/", b"CONNECT ")):
        return "HTTP"
    if data[:5].lower() in (b"<!doc", b"<html"):
        return "HTTP"  # a server that answers what it can't read with a bare page, as of HTTP/0.9
    if data[:2] in (b"\x16\x03", b"\x15\x03"):
        return "TLS"
    return "SSH" if data.startswith(b"SSH-") else None


Binding = Callable[[], bytes]
"""Gives the channel binding (32 bytes, or none) of a connection whose hello has arrived."""


def unbound() -> bytes:
    """The channel binding of a connection without TLS: empty."""
    return b""


class _Handshake(ABC):
    """Common to both sides: collects bytes until a message of known size is complete."""

    def __init__(self, nonce: bytes) -> None:
        if len(nonce) != 32:
            raise ValueError("a nonce has 32 bytes")
        self._nonce = nonce
        self._received = bytearray()
        self._error: BgpyError | None = None
        self.done = False
        """Whether both sides have proved the token and `rest` belongs to frames."""
        self.rest = b""
        """Bytes that came after the handshake, in the call that ended it."""
        self.refused: str | None = None
        """Why this side rejected the other; None if it didn't."""

    def receive(self, data: memoryview | bytes) -> bytes:
        """Take received bytes, give the bytes to send (often none).

        Errors are final: each later call raises the same again.
        """
        if self._error is not None:
            raise self._error
        view = memoryview(data)
        answer = b""
        try:
            while view and not (self.done or self.refused):
                missing = self._size() - len(self._received)
                self._received += view[:missing]
                view = view[missing:]
                answer += self._look()
        except BgpyError as error:
            self._error = error
            raise
        if self.done:
            self.rest += view
        return answer

    @abstractmethod
    def _size(self) -> int:
        """Bytes of the message under way."""

    @abstractmethod
    def _look(self) -> bytes:
        """Take the message under way if it is whole; give the answer to it."""

    def _take(self) -> bytes:
        message = bytes(self._received)
        self._received.clear()
        return message


class ClientHandshake(_Handshake):
    """The client's side. Send `hello()` first, then what `receive` gives.

    Once `done`: `welcome`, `terms` and `server_id` tell about the server. Raises
    `NotBgpy` at the first wrong byte, `VersionMismatch`, `AuthenticationError` where
    the tokens differ or `token` is None, `RemoteProtocolError` for other refusals.
    """

    welcome: Welcome
    terms: ServerTerms
    server_id: bytes

    def __init__(
        self, client_id: bytes, nonce: bytes, token: str | None, binding: bytes = b""
    ) -> None:
        super().__init__(nonce)
        if len(client_id) != 16 or len(binding) not in (0, 32):
            raise ValueError("a client id has 16 bytes, a channel binding 32 or none")
        self._binding = binding
        self._client_id = client_id
        self._token = token
        self._proved = False

    def hello(self) -> bytes:
        """Give the bytes that open the handshake."""
        return _hello.pack(
            MAGIC, MIN_VERSION, MAX_VERSION, 0, ROLE_FULL, self._client_id, self._nonce
        )

    def _size(self) -> int:
        return WELCOME_SIZE if self._proved else SERVER_HELLO_SIZE

    def _look(self) -> bytes:
        if not self._proved:
            _check_magic(self._received)
        if len(self._received) < self._size():
            return b""
        message = self._take()
        if not self._proved:
            return self._check_server(message)
        self.welcome = _decode_welcome(message)
        self.done = True
        return b""

    def _check_server(self, message: bytes) -> bytes:
        """Verify the server's proof, and only then give the client's."""
        fields = _server_hello.unpack_from(message)
        _, version, lowest, highest, reason, codecs, max_buffers, max_message, server_id, _ = fields
        if version == 0:
            raise _refused(reason, lowest, highest)
        if not MIN_VERSION <= version <= MAX_VERSION:
            raise _no_common_version("the server chose", version, version)
        if not self._token:
            raise AuthenticationError(
                "the server requires a token, and this client has none",
                advice=Advice(
                    "give token=..., set BGPY_TOKEN, or keep it once with 'bgpy add'",
                    "give --token, set BGPY_TOKEN, or keep it once with 'bgpy add'",
                ),
            )
        key = derive_key(self._token, server_id)
        body, proof = message[:-PROOF_SIZE], message[-PROOF_SIZE:]
        expected = _proof(key, b"server", self.hello() + body + self._binding)
        if not equal(proof, expected):
            raise AuthenticationError(
                "the server doesn't hold this client's token",
                advice="use the token that the server was started with",
            )
        self.server_id = server_id
        self.terms = ServerTerms(max_message, max_buffers, codecs)
        self._proved = True
        return _proof(key, b"client", self.hello() + message + self._binding)


def _refused(reason: int, lowest: int, highest: int) -> ProtocolError | AuthenticationError:
    """Give the client's error for a refusal."""
    if reason == Refusal.VERSION:
        return _no_common_version("the server speaks", lowest, highest)
    if reason == Refusal.TOKEN:
        return AuthenticationError(
            "the server's token is too short for this kind of connection",
            advice=f"start the server with a token of at least {LONG_TOKEN} characters",
        )
    return RemoteProtocolError(f"the server rejected this client's hello with reason {reason}")


def _no_common_version(who: str, lowest: int, highest: int) -> VersionMismatch:
    return VersionMismatch(
        f"{who} {_versions(lowest, highest)} of the protocol, this side {_OURS}",
        advice="install the same version of bgpy on both sides",
    )


def _versions(lowest: int, highest: int) -> str:
    return f"version {lowest}" if lowest == highest else f"versions {lowest} to {highest}"


_OURS = _versions(MIN_VERSION, MAX_VERSION)


class ServerHandshake(_Handshake):
    """The server's side; `receive` gives its hello, then its welcome.

    `key` is `derive_key(token, server_id)`. With `refusal` each hello is refused for
    that reason. Raises `NotBgpy` at the first wrong byte and `AuthenticationError` where
    the tokens differ. A refusal is no error here: `receive` gives the bytes that say so
    and `refused` the reason in words; send them and close.
    """

    def __init__(
        self,
        server_id: bytes,
        nonce: bytes,
        key: bytes,
        terms: ServerTerms,
        welcome: Welcome,
        binding: Binding = unbound,
        refusal: Refusal | None = None,
    ) -> None:
        super().__init__(nonce)
        self._binding = binding
        if len(server_id) != 16:
            raise ValueError("a server id has 16 bytes")
        self._server_id = server_id
        self._key = key
        self._terms = terms
        self._welcome = welcome
        self._refusal = refusal
        self._expected = b""
        self.client_id = b""
        """The 16 bytes that name the client object; empty before its hello."""
        self.role = ROLE_FULL

    @property
    def awaits_proof(self) -> bool:
        """Whether this side has proved the token and the client has not."""
        return bool(self._expected) and not self.done

    def _size(self) -> int:
        return PROOF_SIZE if self._expected else HELLO_SIZE

    def _look(self) -> bytes:
        if not self._expected:
            _check_magic(self._received)
        if len(self._received) < self._size():
            return b""
        message = self._take()
        if not self._expected:
            return self._answer(message)
        if not equal(message, self._expected):
            raise AuthenticationError("a client tried to connect with a wrong token")
        self.done = True
        return _encode_welcome(self._welcome)

    def _answer(self, hello: bytes) -> bytes:
        """Give the server hello, or a refusal."""
        _, lowest, highest, flags, self.role, self.client_id, _ = _hello.unpack(hello)
        version = min(highest, MAX_VERSION)
        if version < max(lowest, MIN_VERSION):
            text = f"it speaks {_versions(lowest, highest)}, this server {_OURS}"
            return self._refuse(Refusal.VERSION, text)
        if flags:
            return self._refuse(Refusal.FLAGS, f"it set flags {flags:#x}, none are known")
        if self.role != ROLE_FULL:
            return self._refuse(Refusal.ROLE, f"it asked for role {self.role}, there is only 0")
        if self._refusal is not None:
            name = self._refusal.name.lower()
            return self._refuse(self._refusal, f"this server refuses such connections: {name}")
        limits = (self._terms.codecs, self._terms.max_buffers, self._terms.max_message)
        body = _server_hello.pack(
            MAGIC, version, MIN_VERSION, MAX_VERSION, 0, *limits, self._server_id, self._nonce
        )
        binding = self._binding()
        answer = body + _proof(self._key, b"server", hello + body + binding)
        self._expected = _proof(self._key, b"client", hello + answer + binding)
        return answer

    def _refuse(self, reason: Refusal, text: str) -> bytes:
        self.refused = text
        versions = (MIN_VERSION, MAX_VERSION)
        zeros = (0, 0, 0, b"", b"")
        refusal = _server_hello.pack(MAGIC, 0, *versions, reason, *zeros)
        return refusal + bytes(PROOF_SIZE)
