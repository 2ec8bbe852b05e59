"""Both ends of TLS without a server: a certificate made once, engines, and what moves bytes."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterable
from functools import lru_cache
from itertools import cycle
from pathlib import Path

from bgpy.tls import certificates
from bgpy.tls.contexts import Identity, for_client, identity
from bgpy.tls.layer import TlsLayer

PEM = certificates.make()
"""A key and its certificate."""

LONG = 30.0
"""Seconds after which a test has failed; nothing waits that long."""


@lru_cache(maxsize=1)
def server_identity() -> Identity:
    """What a server shows that uses `PEM`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "certificate.pem"
        path.write_bytes(PEM)
        return identity(str(path))


def client_of(version: ssl.TLSVersion) -> ssl.SSLContext:
    """The context of a client that speaks `version` at most, and trusts everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = version
    return context


def server_of(version: ssl.TLSVersion) -> ssl.SSLContext:
    """The context of a server that speaks `version` at most, and shows the same."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "certificate.pem"
        path.write_bytes(PEM)
        context.load_cert_chain(path)
    return context


def engines() -> tuple[TlsLayer, TlsLayer]:
    """A client's and a server's, which have not spoken yet."""
    return TlsLayer(for_client(), False), TlsLayer(server_identity().context, True)


def established(cuts: Iterable[int] = (2**20,)) -> tuple[TlsLayer, TlsLayer]:
    """The same when they have agreed on keys; what they said was cut so."""
    client, server = engines()
    client.begin()
    while not (client.established and server.established):
        assert receive(server, client.words.read(), cuts) == b""
        assert receive(client, server.words.read(), cuts) == b""
    return client, server


def encrypted(engine: TlsLayer, data: bytes) -> bytes:
    """The ciphertext of `data`, behind what the engine had to say."""
    engine.write(data)
    return engine.words.read()


def receive(
    engine: TlsLayer, ciphertext: bytes, cuts: Iterable[int] = (2**20,), size: int = 2**14
) -> bytes:
    """The plaintext of `ciphertext`, received in parts of these lengths, again and again.

    The memory for the plaintext has `size` bytes.
    """
    memory = memoryview(bytearray(size))
    plain, lengths = bytearray(), cycle(cuts)
    rest = memoryview(ciphertext)
    while rest:
        part = rest[: min(engine.room(size), next(lengths))]
        assert part, "there is no room, and never will be"
        plain += memory[: engine.decrypt(part, memory)]
        rest = rest[len(part) :]
    return bytes(plain)
