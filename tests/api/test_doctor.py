"""What a diagnosis holds; `tests/cli/test_doctor.py` has each trouble, as people meet it."""

from __future__ import annotations

from bgpy.address import parse
from bgpy.api.doctor import diagnose
from bgpy.errors import NotRunning


def test_diagnosis_holds_facts_the_error_and_advice(free_port: int) -> None:
    """Of a port where nobody listens."""
    findings = diagnose(parse(f"127.0.0.1:{free_port}"), None, None)
    assert findings.known[0] == ("address", f"127.0.0.1:{free_port}")
    assert isinstance(findings.error, NotRunning)
    assert findings.advice == [f"'bgpy server 127.0.0.1:{free_port}' starts a server there."]
