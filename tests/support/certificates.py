"""Certificates where `cryptography`, with which bgpy makes its own, doesn't install: on 3.13t.

TLS itself is Python's, so whatever speaks it is tested all the same, with a certificate that
``openssl`` has made. Where there is none either, what needs one is skipped.
"""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from bgpy.state import folders
from bgpy.tls import certificates

HERE = find_spec("cryptography") is not None

REASON = "cryptography isn't installed: on 3.13t it has no wheel"

_COMMAND = (
    *("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt"),
    *("ec_paramgen_curve:prime256v1", "-days", "365", "-subj", "/CN=bgpy server"),
)


def lend() -> None:
    """Have this process's certificates made without `cryptography`, if it isn't there."""
    if not HERE:
        certificates.make = _made


def lend_to(home: Path) -> None:
    """The same for servers whose state folder is `home`: they find one there."""
    if HERE:
        return
    place = Path(folders.below_machine())
    assert place.is_relative_to(home)
    folders.make_private(str(place))
    file = place / "certificate.pem"
    file.touch(0o600)
    file.write_bytes(_made_for_servers())


def locked(key: bytes, form: str = "PKCS8") -> bytes:
    """A PEM key with a password, in one of the forms that `cryptography` knows."""
    if not HERE:
        pytest.skip(REASON)
    from cryptography.hazmat.primitives import serialization

    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        getattr(serialization.PrivateFormat, form),
        serialization.BestAvailableEncryption(b"a password"),
    )


def _made() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = os.path.join(folder, "key"), os.path.join(folder, "certificate")
        try:
            subprocess.run(
                [*_COMMAND, "-keyout", key, "-out", certificate], check=True, capture_output=True
            )
        except FileNotFoundError:
            pytest.skip(f"{REASON}, and there is no openssl", allow_module_level=True)
        return Path(key).read_bytes() + Path(certificate).read_bytes()


_made_for_servers = functools.cache(_made)
