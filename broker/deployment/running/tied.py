"""Become another program that ends when this one's parent does, even by kill -9 of the parent.

    python -I -S tied.py PARENT UID GID PROGRAM ARGUMENT...

PARENT is the parent's process id; -1 for UID leaves the user as it is. The kernel keeps the wish
for the program's whole life, but forgets it when the user changes: so the user is changed first.
Only Linux has it; elsewhere the next `hum up` finds what is left, and says so."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def main(parent: int, uid: int, gid: int, command: list[str]) -> None:
    """Never return."""
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it has gone before the kernel knew
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 (no shell is wanted)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
