"""Where a server that was given no address puts its Unix socket.

In the state folder; if that path is too long or on a network file system, in a folder of
this user's within the system's temporary folder.
"""

from __future__ import annotations

import os
import sys

from bgpy.state.folders import below_machine

_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "fuse.sshfs")
_MOUNTS = "/proc/self/mounts"


def socket_folder(longest: int) -> str:
    """Give the folder, short enough that a name of 8 characters in it stays within `longest`.

    `longest` is in bytes. The folder is not made. Raises `StartupError` if this account has
    no home folder.
    """
    folder = below_machine("sockets")
    if len(os.fsencode(folder)) + 9 <= longest and not on_network(folder):
        return folder
    # Imported here: it is rarely needed.
    import tempfile

    return os.path.join(os.path.realpath(tempfile.gettempdir()), f"bgpy-{_user()}")


def on_network(path: str, mounts: str = _MOUNTS) -> bool:
    """Tell whether `path` lies on a file system that other machines share (known on Linux)."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            mounted = [line.split() for line in file]
    except OSError:
        return False
    kinds = {_unescaped(fields[1]): fields[2] for fields in mounted if len(fields) > 2}
    while path not in kinds and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return kinds.get(path) in _NETWORK


if sys.platform == "win32":

    def _user() -> int:
        return 0

else:

    def _user() -> int:
        return os.geteuid()


def _unescaped(mount_point: str) -> str:
    """A mount point as it is: blanks and the like are written in octal (proc(5))."""
    for code in ("040", "011", "012", "134"):
        mount_point = mount_point.replace(f"\\{code}", chr(int(code, 8)))
    return mount_point
