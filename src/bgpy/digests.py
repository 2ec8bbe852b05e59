"""Hashes, through OpenSSL: imported at first use, since that takes 4 ms, and never cut by a fork.

Each call looks for its algorithm, which OpenSSL does under a lock (`bgpy.forks`).
"""

from __future__ import annotations

from types import ModuleType

from bgpy.forks import uncut
from bgpy.late import once


@once
def hashing() -> tuple[ModuleType, ModuleType]:
    """`hashlib` and `hmac`, which a program without a call never needs."""
    import hashlib
    import hmac

    return hashlib, hmac


def sha256(data: bytes) -> bytes:
    """The SHA-256 of `data`, 32 bytes."""
    hashlib, _ = hashing()
    with uncut:
        digest: bytes = hashlib.sha256(data).digest()
    return digest


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """The HMAC-SHA-256 of `data` (RFC 2104), 32 bytes."""
    _, hmac = hashing()
    with uncut:
        digest: bytes = hmac.digest(key, data, "sha256")
    return digest


def scrypt(secret: bytes, salt: bytes) -> bytes:
    """A key of 32 bytes from a short secret (RFC 7914): about 45 ms and 16 MiB."""
    hashlib, _ = hashing()
    with uncut:
        key: bytes = hashlib.scrypt(secret, salt=salt, n=2**14, r=8, p=1, maxmem=2**26, dklen=32)
    return key


def equal(one: bytes, other: bytes) -> bool:
    """Whether two digests are the same, in a time that doesn't tell where they differ."""
    same: bool = hashing()[1].compare_digest(one, other)
    return same
