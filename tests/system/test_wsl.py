"""Windows as Linux on it sees it, by files that are made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgpy.system.wsl import firewall_rule, windows_host

HEADER = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
ROUTES = (
    HEADER
    + "eth0\t000012AC\t00000000\t0001\t0\t0\t0\t00F0FFFF\n"
    + "eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\n"
)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    release, routes = tmp_path / "osrelease", tmp_path / "route"
    release.write_text("5.15.153.1-microsoft-standard-WSL2\n")
    routes.write_text(ROUTES)
    return release, routes


def test_windows_is_the_default_gateway(files: tuple[Path, Path]) -> None:
    """Written in hexadecimal, in the machine's byte order: that of all that run WSL is little."""
    assert windows_host(*map(str, files)) == "172.18.0.1"


@pytest.mark.parametrize("release", ["6.8.0-45-generic\n", "4.4.0-19041-Microsoft\n", ""])
def test_windows_is_nowhere_where_this_is_no_wsl_2(files: tuple[Path, Path], release: str) -> None:
    """In WSL 1 both share one loopback."""
    files[0].write_text(release)
    assert windows_host(*map(str, files)) is None


@pytest.mark.parametrize("routes", ["", HEADER, HEADER + "\n", HEADER + "eth0\t000012AC\t0\n"])
def test_windows_is_nowhere_without_a_gateway(files: tuple[Path, Path], routes: str) -> None:
    """As without a network."""
    files[1].write_text(routes)
    assert windows_host(*map(str, files)) is None


@pytest.mark.parametrize("missing", [0, 1])
def test_windows_is_nowhere_where_the_system_has_no_such_files(
    files: tuple[Path, Path], missing: int
) -> None:
    """As on macOS."""
    files[missing].unlink()
    assert windows_host(*map(str, files)) is None


def test_firewall_rule_names_the_port() -> None:
    """It lets in TCP to that port alone."""
    rule = firewall_rule(54321)
    assert "-LocalPort 54321 " in rule
    assert "-Direction Inbound -Protocol TCP" in rule
