"""Which machine this is: a name that stays when its host name changes.

A laptop gets another host name with the next network (DHCP), a server from its owner; what a
running program keeps for the machine has to be found nevertheless. So the system's own identifier
is used::

    Linux       /etc/machine-id, made when the system was installed
    macOS       gethostuuid(3), of the hardware
    Windows     MachineGuid, made when the system was installed

Where there is none, as in some containers, the host name is all there is. It doesn't change there
while the container exists.
"""

from __future__ import annotations

import re
import socket
import sys
from io import FileIO

from bgpy.shortage import shortage
from bgpy.system.strikes import is_strike, is_strike_amid

DIGITS = 12
"""Hexadecimal digits of the name: the whole identifier is to be shown to nobody (machine-id(5))."""

_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id", "/etc/hostid")

_name = ""
"""What `machine` gave."""


def machine() -> str:
    """A name for this machine: 12 hexadecimal digits, or its host name if it has no identifier."""
    global _name
    if not _name:
        try:
            identifier = _identifier().strip().replace("-", "").lower()
        except (OSError, ValueError, AttributeError) as error:
            if shortage(error) is not None or is_strike_amid(error):
                raise  # it may have one all the same
            identifier = ""
        # Of some Macs all but the last digits are the same.
        usable = re.fullmatch(r"[0-9a-f]{32}", identifier) and identifier.strip("0")
        _name = identifier[-DIGITS:] if usable else host_name()
    return _name


def host_name() -> str:
    """The host name of this machine, which may change."""
    return socket.gethostname() or "localhost"


if sys.platform == "win32":

    def _identifier() -> str:
        import winreg

        access = winreg.KEY_READ | winreg.KEY_WOW64_64KEY
        path = r"SOFTWARE\Microsoft\Cryptography"
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path, 0, access) as key:
            return str(winreg.QueryValueEx(key, "MachineGuid")[0])

elif sys.platform == "darwin":

    def _identifier() -> str:
        import ctypes

        uuid, patience = (ctypes.c_ubyte * 16)(), (ctypes.c_long * 2)(1, 0)  # a second
        if ctypes.CDLL(None).gethostuuid(uuid, patience):
            return ""
        return bytes(uuid).hex()

else:

    def _identifier() -> str:
        for path in _FILES:
            try:
                # As bytes: this may run when nothing can be imported any more.
                with FileIO(path) as file:
                    return file.read(64).decode("latin-1")
            except OSError as error:
                if shortage(error) is not None or is_strike(error):
                    raise
        return ""
