"""A server's certificate: private, kept, renewed; what can't be one is said, and nobody asked."""

from __future__ import annotations

import os
import re
import ssl
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from bgpy.errors import StartupError
from bgpy.tls import certificates
from bgpy.tls.contexts import for_client, identity
from bgpy.tls.layer import TlsLayer
from tests.support.certificates import HERE, REASON, locked
from tests.support.ends import PEM, receive

DAY = 86400
KEY, CERTIFICATE = PEM[: PEM.index(b"-----BEGIN CERT")], PEM[PEM.index(b"-----BEGIN CERT") :]
LOCKED = b"the key with a password"


def test_own_certificate_is_private_and_used_again(tmp_path: Path) -> None:
    """Only this user can read the key, whatever the umask; the next server shows the same."""
    before = os.umask(0)
    try:
        path = Path(certificates.own(str(tmp_path)))
    finally:
        os.umask(before)
    assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert certificates.own(str(tmp_path)) == str(path)
    assert path.read_text() == text
    assert os.listdir(tmp_path) == [path.name]
    assert len(identity(str(path)).binding) == 32


@pytest.mark.parametrize(
    ("age", "renewed"),
    [
        (0, False),
        ((certificates.RENEWED - 1) * DAY, False),
        ((certificates.RENEWED + 1) * DAY, True),
        (-DAY, True),
    ],
)
def test_own_certificate_is_renewed_when_it_is_old(
    tmp_path: Path, age: float, renewed: bool
) -> None:
    """A month before it ends; one from the future tells nothing of its age."""
    path = Path(certificates.own(str(tmp_path)))
    text = path.read_text()
    os.utime(path, (time.time() - age,) * 2)
    certificates.own(str(tmp_path))
    assert (path.read_text() != text) is renewed
    assert os.listdir(tmp_path) == [path.name]


def test_own_certificate_is_made_anew_when_the_disk_was_full(tmp_path: Path) -> None:
    """An empty file is none."""
    (tmp_path / "certificate.pem").touch()
    assert Path(certificates.own(str(tmp_path))).stat().st_size


def test_own_certificate_that_can_not_be_kept_is_a_startup_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the folder, and nothing half made is left there."""
    with pytest.raises(StartupError, match="missing"):
        certificates.own(str(tmp_path / "missing"))

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(StartupError, match="no space left"):
        certificates.own(str(tmp_path))
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not HERE, reason=REASON)
def test_certificate_is_good_before_it_was_made_and_longer_than_it_is_used() -> None:
    """Clocks differ by hours, and a server may run on for a month after its last start."""
    from cryptography import x509

    made = x509.load_pem_x509_certificate(CERTIFICATE)
    assert made.not_valid_before_utc.timestamp() < time.time() - DAY / 2
    assert made.not_valid_after_utc.timestamp() > time.time() + certificates.RENEWED * DAY


@pytest.mark.parametrize("apart", [True, False])
def test_identity_is_that_of_the_first_certificate(tmp_path: Path, apart: bool) -> None:
    """With the key in the same file or apart, and with those of its signers behind it."""
    other = certificates.make()
    chain = CERTIFICATE + other[other.index(b"-----BEGIN CERT") :]
    (tmp_path / "cert").write_bytes(chain if apart else KEY + chain)
    (tmp_path / "key").write_bytes(KEY)
    found = identity(str(tmp_path / "cert"), str(tmp_path / "key") if apart else None)
    (tmp_path / "both").write_bytes(PEM)
    assert found.binding == identity(str(tmp_path / "both")).binding
    assert found.context.minimum_version == ssl.TLSVersion.TLSv1_3


BAD: dict[str, tuple[bytes | None, bytes | None]] = {
    "no certificate": (None, KEY),
    "no key": (CERTIFICATE, None),
    "key missing in the one file": (CERTIFICATE, b""),
    "key of another": (CERTIFICATE, certificates.make()),
    "encrypted key": (CERTIFICATE, LOCKED),
    "empty": (b"", KEY),
    "garbage": (b"\xff\x00 no PEM", KEY),
    "garbage within": (b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", KEY),
    "only a key": (KEY, KEY),
}


@pytest.mark.parametrize("name", BAD)
def test_identity_that_can_not_be_is_a_startup_error(tmp_path: Path, name: str) -> None:
    """It names a file and what is wrong."""
    for file, content in zip(("cert", "key"), BAD[name], strict=True):
        if content is not None:
            (tmp_path / file).write_bytes(locked(KEY) if content is LOCKED else content)
    with pytest.raises(StartupError, match=re.escape(str(tmp_path))):
        identity(str(tmp_path / "cert"), str(tmp_path / "key"))


def test_identity_that_is_a_folder_is_a_startup_error(tmp_path: Path) -> None:
    """As anything that can't be read."""
    with pytest.raises(StartupError, match=re.escape(str(tmp_path))):
        identity(str(tmp_path))


@pytest.mark.parametrize("before", [False, True])
def test_identity_is_of_one_certificate_when_it_is_renewed_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """Else no client could ever prove the token: what is shown is what the proof is bound to."""
    path = tmp_path / "certificate.pem"
    path.write_bytes(PEM)
    load = ssl.SSLContext.load_cert_chain
    renewed = [certificates.make()]

    def meanwhile(context: ssl.SSLContext, *args: Any, **options: Any) -> None:
        if renewed and before:  # the certificate was read, the key was not
            path.write_bytes(renewed.pop())
            raise ssl.SSLError("key values mismatch")
        load(context, *args, **options)
        if renewed:
            path.write_bytes(renewed.pop())

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", meanwhile)
    found = identity(str(path))
    client, server = TlsLayer(for_client(), False), TlsLayer(found.context, True)
    client.begin()
    receive(server, client.words.read())
    receive(client, server.words.read())
    assert client.peer_fingerprint() == found.binding
