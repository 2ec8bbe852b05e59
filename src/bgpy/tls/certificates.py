"""A server's own certificate: made on the spot, kept for its user, renewed in time.

It names nobody and nobody signs it. What makes it worth something is the token, whose
proof is bound to it. A renewed one is as good as the one before: no client keeps them.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import UTC

from bgpy.errors import StartupError
from bgpy.shortage import room_advice

VALID = 365
"""Days that a certificate is made for."""

RENEWED = 335
"""Days after which a starting server makes a new one."""

_DAY = 86400.0

_FLAGS = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", getattr(os, "O_NOINHERIT", 0))
)


def own(folder: str) -> str:
    """Give the path of a PEM file with key and certificate, made where there is none or it is old.

    `folder` must be there and belong to this user alone. Raises `StartupError` if nothing
    can be written there.
    """
    path = os.path.join(folder, "certificate.pem")
    try:
        if _age(path) < RENEWED * _DAY:
            return path
        temporary = f"{path}.{os.urandom(4).hex()}.new"
        try:
            with open(os.open(temporary, _FLAGS, 0o600), "wb") as file:
                file.write(make())
            # Servers that start at once may each make one: any of them serves all.
            os.replace(temporary, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise StartupError(
            f"the server's certificate can't be kept in {folder}: {error}",
            advice=room_advice(error),
        ) from error
    return path


def make() -> bytes:
    """Make a P-256 key and a certificate that it signs itself, as PEM."""
    # Inside, since it takes 80 ms, once a year.
    from datetime import datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bgpy server")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + timedelta(days=VALID))
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ) + certificate.public_bytes(serialization.Encoding.PEM)


def _age(path: str) -> float:
    """Seconds since the certificate was made; infinite if there is none, or none worth keeping."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return float("inf")
    age = time.time() - status.st_mtime
    # One from the future, after the clock was set back, tells nothing.
    return age if age >= 0 and status.st_size else float("inf")
