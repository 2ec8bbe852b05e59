"""Digests are those of the standards, and a name's module is imported once."""

from __future__ import annotations

import pytest

from bgpy import digests


@pytest.mark.parametrize(
    ("digest", "expected"),
    [
        # FIPS 180-2, appendix B.1
        (
            digests.sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        # RFC 4231, test case 2
        (
            digests.hmac_sha256(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        # RFC 7914, section 12, the third: the same N, r and p, the first 32 bytes
        (
            digests.scrypt(b"pleaseletmein", b"SodiumChloride"),
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2",
        ),
    ],
)
def test_digest_is_the_standard_s(digest: bytes, expected: str) -> None:
    """Of the examples that the standards give."""
    assert digest.hex() == expected


@pytest.mark.parametrize(("other", "same"), [(b"abc", True), (b"abx", False), (b"ab", False)])
def test_equal_tells_whether_two_digests_are_the_same(other: bytes, same: bool) -> None:
    """Whatever their lengths."""
    assert digests.equal(b"abc", other) is same
