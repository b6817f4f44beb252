"""The text of units: for Hum's own broker and coordinator, and the drop-in for the Mosquitto of the
distribution's package.

Both run as the user whose the deployment's folder is, see it and nothing of anybody's home that
they do not need, and write in the folders of theirs alone. What each line keeps away is in
systemd.exec(5); `systemd-analyze security` scores them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from broker.errors import HumError

MARK = "# Written by `hum install` for "
HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
SCRATCH = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 (only looked at)
PRIVILEGED_PORTS = 1024
# Not MemoryDenyWriteExecute: Python's foreign functions want such memory on some machines.
HARDENED = """\
NoNewPrivileges=yes
ProtectSystem=strict
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
KeyringMode=private
UMask=0077
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
"""


class UnitError(HumError):
    """No unit can be made. args[0] says why."""


@dataclass(frozen=True)
class Site:
    """What units are made for: the deployment `name` in `folder`, which is `user`'s and `group`'s;
    `program` starts Hum there, `code` are the folders that it is loaded from; `port` is
    the broker's, `gateway` the gateway's."""

    name: str
    folder: Path
    user: str
    group: str
    program: Sequence[str]
    code: Sequence[Path]
    port: int
    gateway: int

    @property
    def is_root(self) -> bool:
        """Whether the folder is root's."""
        return self.user == "root"


def names(name: str) -> tuple[str, str, str]:
    """Return the names of the broker's unit, the coordinator's and the gateway's."""
    return f"hum-{name}-broker.service", f"hum-{name}.service", f"hum-{name}-gateway.service"


def drop_in(name: str) -> str:
    """Return where the drop-in for the packaged Mosquitto is, below the units' folder."""
    return f"mosquitto.service.d/hum-{name}.conf"


def broker(site: Site) -> str:
    """Return the unit of Hum's own Mosquitto."""
    capabilities = ["CAP_NET_BIND_SERVICE"] * (site.port < PRIVILEGED_PORTS)
    # Root's: Mosquitto becomes the user of its files; those are read, and it is ended, by root.
    capabilities += ["CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_DAC_READ_SEARCH"] * site.is_root
    return _unit(
        site,
        f"Hum: the broker of {site.name}",
        ["After=network-online.target", "Wants=network-online.target"],
        [*site.program, "up", "--dir", str(site.folder), "--only", "broker"],
        [site.folder / "mosquitto"],
        ["AF_INET", "AF_INET6", "AF_UNIX"],
        capabilities,
    )


def coordinator(site: Site, after: str) -> str:
    """Return the unit of the coordinator; `after` is its broker's unit."""
    return _unit(
        site,
        f"Hum: the coordinator of {site.name}",
        [f"After=network-online.target time-sync.target {after}", f"Wants=network-online.target {after}"],
        [*site.program, "up", "--dir", str(site.folder), "--only", "coordinator"],
        [site.folder / "coordinator", site.folder / "results", site.folder / "rosters"],
        ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"],  # the last tells this machine's addresses
        [],
    )


def gateway(site: Site, after: str) -> str:
    """Return the unit of the gateway; `after` is its broker's unit."""
    return _unit(
        site,
        f"Hum: the gateway of {site.name}",
        [f"After=network-online.target time-sync.target {after}", f"Wants=network-online.target {after}"],
        [*site.program, "up", "--dir", str(site.folder), "--only", "gateway"],
        [site.folder / "gateway"],
        ["AF_INET", "AF_INET6", "AF_UNIX"],
        ["CAP_NET_BIND_SERVICE"] * (site.gateway < PRIVILEGED_PORTS),
    )


def packaged(site: Site, mosquitto: str, user: str, group: str) -> str:
    """Return the drop-in that has the packaged mosquitto.service run with the deployment's files,
    as their `user`. Its own mosquitto.conf is read no more."""
    configuration = site.folder / "mosquitto" / "mosquitto.conf"
    lines = [
        f"{MARK}{site.folder}",
        "[Service]",
        f"User={user}",
        f"Group={group}",
        "# What the package prepares for its own log and process file, as root, is not wanted.",
        "ExecStartPre=",
        "ExecStart=",
        f"ExecStart={_words([mosquitto, '-c', str(configuration)])}",
        f"ReadWritePaths={_words([str(configuration.parent)])}",
        *_confined(site, ["AF_INET", "AF_INET6", "AF_UNIX"], ["CAP_NET_BIND_SERVICE"] * (site.port < PRIVILEGED_PORTS)),
        "SystemCallFilter=@system-service",
    ]
    return "\n".join(lines) + "\n" + HARDENED


def _unit(
    site: Site,
    description: str,
    unit: Sequence[str],
    command: Sequence[str],
    writes: Sequence[Path],
    families: Sequence[str],
    capabilities: Sequence[str],
) -> str:
    lines = [f"{MARK}{site.folder}", "[Unit]", f"Description={description}", *unit, "", "[Service]", "Type=exec"]
    lines += [f"User={site.user}", f"Group={site.group}", f"ExecStart={_words(command)}"]
    lines += [f"WorkingDirectory={_escaped(str(site.folder))}", "Restart=on-failure", "RestartSec=5"]
    # Called wrongly, not let in: trying again changes nothing.
    lines += ["RestartPreventExitStatus=2 4", "TimeoutStopSec=60"]
    lines += [f"ReadWritePaths={' '.join('-' + _words([str(path)]) for path in writes)}"]
    lines += _confined(site, families, capabilities)
    lines += ["SystemCallFilter=@system-service"] + ["SystemCallFilter=~@privileged"] * (not site.is_root)
    return "\n".join(lines) + "\n" + HARDENED + "\n[Install]\nWantedBy=multi-user.target\n"


def _confined(site: Site, families: Sequence[str], capabilities: Sequence[str]) -> list[str]:
    """Return what depends on where the folder is, and whose."""
    seen = [site.folder, *site.code]
    in_home = any(path.is_relative_to(home) for path in seen for home in HOMES)
    in_scratch = any(path.is_relative_to(scratch) for path in seen for scratch in SCRATCH)
    allowed = " ".join(capabilities)
    lines = [f"RestrictAddressFamilies={' '.join(families)}", f"CapabilityBoundingSet={allowed}"]
    lines += [f"AmbientCapabilities={allowed if not site.is_root else ''}"]
    lines += [f"ProtectHome={'read-only' if in_home else 'yes'}", f"PrivateTmp={'no' if in_scratch else 'yes'}"]
    return [*lines, f"PrivateUsers={'no' if capabilities or site.is_root else 'yes'}"]


def _words(words: Sequence[str]) -> str:
    """Return words as a command line or a list of paths of a unit."""
    return " ".join(f'"{_escaped(word)}"' if " " in word else _escaped(word).replace("$", "$$") for word in words)


def _escaped(word: str) -> str:
    """Return a word without what systemd takes for something else. Raises UnitError."""
    if not word.isprintable() or any(sign in word for sign in "\"'\\"):
        raise UnitError(f"{word!r}: units of systemd want paths without quotes and backslashes")
    return word.replace("%", "%%")
