"""Windows and its Linux: where the one finds the other.

In WSL 2 with NAT, which is its default, Linux has a loopback of its own, and Windows is
the default gateway (https://learn.microsoft.com/windows/wsl/networking).
"""

from __future__ import annotations

import socket
import struct

_RELEASE = "/proc/sys/kernel/osrelease"
_ROUTES = "/proc/net/route"


def windows_host(release: str = _RELEASE, routes: str = _ROUTES) -> str | None:
    """Give the address of Windows as seen from here; None where this isn't WSL 2."""
    try:
        with open(release, encoding="ascii", errors="replace") as file:
            if "microsoft-standard" not in file.read().lower():
                return None
        with open(routes, encoding="ascii", errors="replace") as file:
            rows = [line.split() for line in file][1:]
    except OSError:
        return None
    # Interface, destination and gateway, in the machine's byte order and hexadecimal.
    gateways = [row[2] for row in rows if len(row) > 2 and row[1] == "00000000"]
    return socket.inet_ntoa(struct.pack("=I", int(gateways[0], 16))) if gateways else None


def firewall_rule(port: int) -> str:
    """What an administrator enters in PowerShell to let clients in to `port` on Windows."""
    return (
        f"New-NetFirewallRule -DisplayName 'bgpy {port}' -Direction Inbound -Protocol TCP "
        f"-LocalPort {port} -Action Allow"
    )
