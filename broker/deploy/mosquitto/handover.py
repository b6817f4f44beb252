"""Whose files are they: those that Mosquitto reads belong to the user that it runs as, and are that
user's alone, whoever wrote them. From 2.0.16 on it warns of others, and says that it will refuse
them.

A person who runs the commands as himself runs Mosquitto so, too. Root hands the files over: to the
owner of the folder if that is somebody else, for `sudo hum ...` in a person's folder must lock
nobody out; else to the user of the packaged service, if that user can get there; else Mosquitto
runs as root, of which it warns.
"""

import grp
import os
import pwd
from dataclasses import dataclass
from pathlib import Path

SERVICE = "mosquitto"  # the user of the packaged service, everywhere
DEPLOYMENT = "hum.toml"  # what makes a folder a deployment's


@dataclass(frozen=True)
class Account:
    """A user of this machine, with the primary group."""

    name: str
    uid: int
    gid: int

    @property
    def owner(self) -> tuple[int, int]:
        """(user id, group id), for files."""
        return self.uid, self.gid

    def group(self) -> str:
        """Return the name of the group."""
        try:
            return grp.getgrgid(self.gid).gr_name
        except KeyError:
            return str(self.gid)


def account(uid: int) -> Account:
    """Return the account of a user id; one without an entry is known by its number. This process's
    own has the group that it runs with."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(str(uid), uid, os.getegid() if uid == os.geteuid() else uid)
    return Account(entry.pw_name, uid, os.getegid() if uid == os.geteuid() else entry.pw_gid)


def owner_of(folder: Path) -> Account:
    """Return whose `folder` is, or will be: of the nearest one above it that is there."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    return account(there.stat().st_uid)


def broker_account(folder: Path) -> Account:
    """Return the user that a Mosquitto with its files in `folder` is to run as."""
    folder = folder.resolve()
    own = account(os.geteuid())
    if own.uid != 0:
        return own
    owner = owner_of(folder)
    if owner.uid != 0:
        return owner
    try:
        entry = pwd.getpwnam(SERVICE)
    except KeyError:
        return own
    service = Account(SERVICE, entry.pw_uid, entry.pw_gid)
    # `folder` is opened to it (open_to), and so is a deployment's around it.
    around = folder.parent
    above = around.parents if (around / DEPLOYMENT).exists() else folder.parents
    return service if all(_can_enter(service, each) for each in above if each.exists()) else own


def _can_enter(user: Account, folder: Path) -> bool:
    found = folder.stat()
    if found.st_uid == user.uid:
        return bool(found.st_mode & 0o100)
    return bool(found.st_mode & (0o010 if found.st_gid == user.gid else 0o001))


def open_to(folder: Path, user: Account) -> None:
    """Let `user` into root's `folder`, and through the deployment's around it: their files stay
    what they are, each its owner's alone."""
    if os.geteuid() != 0 or user.uid == 0:
        return
    if folder.stat().st_uid == 0:
        os.chown(folder, 0, user.gid)
        folder.chmod(0o750)
    around = folder.resolve().parent
    if (around / DEPLOYMENT).exists() and not _can_enter(user, around):
        around.chmod(around.stat().st_mode & 0o777 | 0o001)
