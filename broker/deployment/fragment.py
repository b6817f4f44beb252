"""A Mosquitto that runs already, for `hum init --existing-broker`: what it has to be told once, and
how it takes up users and rules when boards change. Files of its operator are never touched."""

import os
import shlex
import subprocess
from pathlib import Path

from broker.deploy.mosquitto import handover
from broker.deployment.folder import Deployment
from broker.files import replace

NAME = "fragment.conf"
RELOAD_S = 30.0
SAID_MOST = 200  # characters of what a command said
HOW = "`systemctl reload mosquitto` or kill -HUP"
# How it runs is its operator's, and what changes with the members is not told once.
ITS_OPERATORS = ("user", "log_dest", "log_type", "persistence", "memory_limit")
LISTENER = ("listener", "certfile", "keyfile")
# One listener's; all others are the whole broker's.
OF_A_LISTENER = (*LISTENER, "use_username_as_clientid", "allow_anonymous", "password_file", "acl_file")
OWN = """\
# For the Mosquitto that runs already: a listener for Hum, with users, rules and certificate of its
# own. Put it behind all others, as zz-hum.conf into the folder of include_dir, and restart Mosquitto
# once. When boards change it reloads, which the command `reload` in hum.toml has it do.
#
# If others let users in, mosquitto.conf must begin with `per_listener_settings true`, and what a
# listener lets in must stand below its `listener` line: else all listeners share one password_file.
"""
SHARED = """\
# For the listener of the Mosquitto that runs already on this port: put it below its `listener` line,
# and restart Mosquitto once. When boards change it reloads, which the command `reload` in hum.toml
# has it do. A listener has one password_file: one that lets others in, too, cannot be Hum's; then
# `hum init` with another --port and without --ca writes a listener for Hum.
"""
LIMITS = """\
#
# What is better for a whole broker; leave out what other users of it cannot do with:
"""


def write(folder: Path) -> bool:
    """Write the fragment of the mosquitto.conf in `folder` beside it; tell whether it has
    changed."""
    lines = [line for line in (folder / "mosquitto.conf").read_text().splitlines() if _key(line) not in ITS_OPERATORS]
    own = any(_key(line) in LISTENER[1:] for line in lines)
    wanted = [line for line in lines if _key(line) in OF_A_LISTENER and (own or _key(line) not in LISTENER)]
    limits = [f"# {line}" for line in lines if _key(line) not in OF_A_LISTENER]
    text = (OWN if own else SHARED) + "\n".join([*wanted, LIMITS.rstrip("\n"), *limits]) + "\n"
    path = folder / NAME
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    replace(path, text.encode())
    return True


def take_up(deployment: Deployment) -> str:
    """Have the broker take up the files of users and rules; return what became of it in a few
    words, with what is left to do if it has not."""
    command = deployment.settings.broker.reload
    if not command:
        return f"has to take it up: {HOW}; as reload in hum.toml it is done from here"
    owner = handover.owner_of(deployment.folder)
    # What somebody else has written into hum.toml is not done as root.
    other = os.geteuid() == 0 and owner.uid != 0
    try:
        done = subprocess.run(
            shlex.split(command),
            cwd=deployment.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=RELOAD_S,
            check=False,
            user=owner.uid if other else None,
            group=owner.gid if other else None,
            extra_groups=[] if other else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        said = error.strerror if isinstance(error, OSError) else f"no end within {RELOAD_S:g} s"
        return f"not taken up: `{command}`: {said}; {HOW} has it do so"
    if done.returncode:
        said = _last(done.stdout) or f"exit status {done.returncode}"
        return f"not taken up: `{command}`{f' as {owner.name}' if other else ''}: {said}; {HOW} has it do so"
    return f"told to take it up: {command}"


def _key(line: str) -> str:
    return line.partition(" ")[0]


def _last(said: bytes) -> str:
    """Return the last line of what a command said."""
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    return "".join(one for one in lines[-1] if one.isprintable())[:SAID_MOST] if lines else ""
