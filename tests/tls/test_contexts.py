"""A server's certificate, given by its user: what is loaded, and what is said of what can't be."""

from __future__ import annotations

import os
import ssl
from hashlib import sha256
from pathlib import Path

import pytest

from bgpy.errors import StartupError
from bgpy.tls import certificates, contexts


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Key and certificate in one text."""
    return certificates.make().decode()


def test_identity_is_bound_to_the_certificate_that_it_shows(tmp_path: Path, pem: str) -> None:
    """TLS 1.3 alone; the binding is the hash of the first certificate."""
    path = tmp_path / "both.pem"
    path.write_text(pem)
    made = contexts.identity(str(path))
    der = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERT") :])
    assert made.binding == sha256(der).digest()
    assert made.context.minimum_version is ssl.TLSVersion.TLSv1_3


def test_identity_takes_the_key_from_its_own_file(tmp_path: Path, pem: str) -> None:
    """As a certificate authority hands them out."""
    cut = pem.index("-----BEGIN CERT")
    (tmp_path / "key.pem").write_text(pem[:cut])
    (tmp_path / "cert.pem").write_text(pem[cut:])
    assert contexts.identity(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")).binding


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"cert\.pem is missing"),
        ("", "can't be"),
        ("noise", "can't be"),
        ("\0\xff", "can't be"),
    ],
)
def test_identity_says_which_file_cant_be_used(tmp_path: Path, text: str | None, said: str) -> None:
    """A `StartupError`, whatever the file holds; nobody is asked for a password."""
    path = tmp_path / "cert.pem"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(StartupError, match=said) as caught:
        contexts.identity(os.fspath(path))
    assert str(path) in str(caught.value)


def test_client_takes_any_certificate_and_nothing_older() -> None:
    """The token is bound to it, so its issuer says nothing."""
    context = contexts.for_client()
    assert context.verify_mode is ssl.CERT_NONE
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert contexts.for_client() is context
