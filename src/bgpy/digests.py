"""Hashes, through OpenSSL: imported at first use, since that takes 4 ms.

OpenSSL looks for an algorithm under a lock, which it writes under when it looks for the first
time and only reads under afterwards. A forked child may find the lock as it was while another
thread wrote, and wait for ever. So all that is used here is looked for once, while the
module is imported, which no fork cuts in two (`bgpy.late`).
"""

from __future__ import annotations

from types import ModuleType

from bgpy.late import once

_SCRYPT = {"n": 2**14, "r": 8, "p": 1, "maxmem": 2**26, "dklen": 32}
_TINY = {**_SCRYPT, "n": 2}


@once
def hashing() -> tuple[ModuleType, ModuleType]:
    """`hashlib` and `hmac`, which a program without a call never needs."""
    import hashlib
    import hmac

    hashlib.sha256(b"")
    hmac.digest(b"", b"", "sha256")
    hashlib.scrypt(b"", salt=b"", **_TINY)
    return hashlib, hmac


def sha256(data: bytes) -> bytes:
    """The SHA-256 of `data`, 32 bytes."""
    digest: bytes = hashing()[0].sha256(data).digest()
    return digest


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """The HMAC-SHA-256 of `data` (RFC 2104), 32 bytes."""
    digest: bytes = hashing()[1].digest(key, data, "sha256")
    return digest


def scrypt(secret: bytes, salt: bytes) -> bytes:
    """A key of 32 bytes from a short secret (RFC 7914): about 45 ms and 16 MiB."""
    key: bytes = hashing()[0].scrypt(secret, salt=salt, **_SCRYPT)
    return key


def equal(one: bytes, other: bytes) -> bool:
    """Whether two digests are the same, in a time that doesn't tell where they differ."""
    same: bool = hashing()[1].compare_digest(one, other)
    return same
