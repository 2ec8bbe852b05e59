"""Windows' Python under Wine: what fails there, and not on Windows, says so with these."""

from __future__ import annotations

import sys

import pytest


def is_wine() -> bool:
    """Whether Wine plays Windows here."""
    if sys.platform == "win32":
        import ctypes

        return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")
    return False


# Of a non-blocking `send` that the socket takes a part of, Wine says that all was taken, and sends
# the rest later, as I/O of the thread that called (sock_send in dlls/ntdll/unix/socket.c): it may
# be gone where that thread ends first. Windows copies what it takes into the socket's own buffer
# (https://learn.microsoft.com/troubleshoot/windows/win32/data-segment-tcp-winsock).
SENDS_AND_ENDS = pytest.mark.skipif(
    is_wine(), reason="Wine may lose what a thread has sent that ends soon after"
)
"""Of a test in which a thread sends more than a socket takes at once, and ends."""

READS_ANOTHER_ENVIRONMENT = pytest.mark.skipif(
    is_wine(), reason="psutil reads another process's environment there without an end, into memory"
)
"""Of a test that asks psutil for the environment of another process: once it took 23 GB."""
