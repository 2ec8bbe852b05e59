"""The TLS settings of both sides, TLS 1.3 only, and the loading of certificates."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache, partial
from typing import NamedTuple

from bgpy.digests import sha256
from bgpy.errors import StartupError
from bgpy.forks import briefly

_END = "-----END CERTIFICATE-----"


class Identity(NamedTuple):
    """What a server shows its clients."""

    context: ssl.SSLContext
    binding: bytes
    """SHA-256 of its certificate: what the proof of the token is bound to."""


def identity(certfile: str, keyfile: str | None = None) -> Identity:
    """Load a server's certificate and key, PEM files; the key may stand with the certificate.

    Raises `StartupError` if they can't be read, don't belong together or want a password.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # connections are kept, not resumed
    try:
        text = _load(context, certfile, keyfile)
        return Identity(context, fingerprint(ssl.PEM_cert_to_DER_cert(_first(text))))
    except FileNotFoundError as error:
        paths = [path for path in (certfile, keyfile) if path is not None]
        missing = [path for path in paths if not os.path.exists(path)] or paths
        raise StartupError(f"the certificate can't be loaded: {missing[0]} is missing") from error
    except ssl.SSLError as error:
        raise StartupError(
            f"the certificate {certfile} can't be used: {reason(error)}; it and its key must be "
            "PEM files that belong together, the key without a password"
        ) from error
    except (OSError, ValueError) as error:
        raise StartupError(f"the certificate {certfile} can't be loaded: {error}") from error


@lru_cache(maxsize=1)
def for_client() -> ssl.SSLContext:
    """The context of all clients: any certificate will do, since the token is bound to it."""
    context = briefly(partial(ssl.SSLContext, ssl.PROTOCOL_TLS_CLIENT))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def fingerprint(certificate: bytes) -> bytes:
    """The SHA-256 of a certificate in DER, 32 bytes."""
    return sha256(certificate)


def reason(error: ssl.SSLError) -> str:
    """What went wrong, in OpenSSL's words."""
    return (error.reason or str(error)).replace("_", " ").lower()


def _load(context: ssl.SSLContext, certfile: str, keyfile: str | None) -> str:
    """Load certificate and key; gives the text that the certificate was loaded from."""
    while True:
        text = _read(certfile)
        try:
            # Without a password given OpenSSL would ask for one at the terminal.
            context.load_cert_chain(certfile, keyfile, password=lambda: "")
        except ssl.SSLError:
            if text == _read(certfile):
                raise
        else:
            if text == _read(certfile):
                return text
        # It was renewed meanwhile, as by another server that starts: what is shown, the key
        # and what the proof is bound to must be of one kind.


def _read(certfile: str) -> str:
    with open(certfile, encoding="ascii", errors="replace") as file:
        return file.read()


def _first(text: str) -> str:
    """The first certificate in a PEM file: the server's own, those of its signers follow."""
    start = text.index("-----BEGIN CERTIFICATE-----")
    return text[start : text.index(_END, start) + len(_END)]
