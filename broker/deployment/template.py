"""The hum.toml that `hum init` writes: every key with what it is for; what has a default is a
comment."""

import json
from dataclasses import dataclass
from pathlib import Path

TEXT = """\
# Hum: the deployment {deployment}. What is behind a # is the default. `hum doctor` says whether
# this file is fit; a key that nobody knows is refused. A variable of the environment such as
# HUM_PORT goes before what is here, and an option such as --port before both.

deployment = {deployment}

[broker]
host = {host}  # where boards connect to: the name in its certificate
port = {port}
{address}
{existing}
{reload}
# labels = []   # that it is announced with, for boards that look for one: ["feeder=7"]

[rounds]
# interval = 900    # seconds from one round to the next: the instants of readings, in UTC
# window = 60       # seconds that a round takes contributions
# answers = 600     # seconds to wait for answers to a roll call
# patience = 600    # seconds to wait for boards that still make masks
# at_once = false   # rounds are of no instant: boards read when one opens

[authority]
{authority}

[gateway]
# enabled = true           # `hum up` runs it: pages, HTTP and events for who has a token
# address = "127.0.0.1"    # what it listens on, without TLS
# port = 8880
# groups = []              # that it serves, and has the result keys of; all if there are none
# energy_metrics = false   # true: its metrics have the totals of energy, too

# [home_assistant], with the keys host, port, user, password_file, ca, prefix and compute: sums go
# to Home Assistant and to programs, on the home's own broker (docs/operate/home-assistant.md).

# A table for each group. Boards join with `hum add`.
"""

GROUP = """\
[groups.{group}]
slots = {slots}  # NAME:LOW:HIGH, a reading and its range
# protocol = "private-sum"   # or one of anonymous queries: gossip, gossip-flood, gossip-bft
# parameters = "hum-2048"    # with queries: how many boards may fail, t1, t2 ...
# cohort = 32                # the most boards that share keys with each other
# seal = "cohort"            # what opens: each cohort's sum, or with "fleet" only the group's
# audit = true               # boards compare roll calls before they answer; from 8 boards on
# spread = 0                 # seconds after an instant in which boards send
# labels = []                # of the group, for areas of several groups: ["north", "feeder=7"]
"""


@dataclass(frozen=True)
class Wanted:
    """What `hum init` was asked for. `slots` are NAME:LOW:HIGH; `folder` is the authority's,
    relative to the deployment's, None if it is elsewhere: then `public` is its public key."""

    deployment: str
    host: str
    port: int
    existing: bool
    reload: str
    group: str
    slots: list[str]
    folder: Path | None
    public: str | None


def text(wanted: Wanted) -> str:
    """Return the file's text."""
    inside = f"folder = {_quoted(str(wanted.folder))}  # keep a copy elsewhere, and offline"
    elsewhere = f"public = {_quoted(wanted.public or '')}  # the authority is offline, elsewhere"
    filled = TEXT.format(
        deployment=_quoted(wanted.deployment),
        host=_quoted(wanted.host),
        port=wanted.port,
        address='# address = "0.0.0.0"  # what the broker listens on',
        existing="existing = true  # its operator runs it; Hum writes access rules for it"
        if wanted.existing
        else "# existing = false  # true: a broker that runs already",
        reload=("" if wanted.reload else "# ")
        + f"reload = {_quoted(wanted.reload)}  # if it exists already: has it take up users when boards change",
        authority=elsewhere if wanted.folder is None else inside,
    )
    return filled + group(wanted.group, wanted.slots)


def group(name: str, slots: list[str]) -> str:
    """Return the table of one group, as it may be appended to the file."""
    return GROUP.format(group=name, slots="[" + ", ".join(map(_quoted, slots)) + "]")


def _quoted(text: str) -> str:
    """Return a basic string of TOML: JSON's escapes are among TOML's."""
    return json.dumps(text)
