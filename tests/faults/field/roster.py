"""What an operator types to change who belongs to a group, and is not stopped, or not helped.

A group of 64 takes a 65th member and can then never have a roster again; a key is enrolled under
two names and signed; names begin with a dash; nobody can be removed, and a broken board not
replaced under its name.

What must hold: an enrolment is checked when it happens, and membership can be undone.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

from agent.crypto import p256
from broker.authority.authority import Authority
from tests.faults import ROOT
from tests.faults.verdict import Verdict

MOST = 64  # members of a group


class Operator:
    """Somebody with a new deployment in a folder of his own."""

    def __init__(self) -> None:
        self._folder = Path(mkdtemp())
        self.keys = [p256.public_key(p256.generate(os.urandom)).hex() for _ in range(MOST + 6)]
        authority = self.must("authority", "init", "street", "--json")["authority"]
        made = self.must("coordinator", "init", "street", "--authority", authority, "--json")
        self._coordinator = made["coordinator"]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Type `hum` and `words`."""
        command = [sys.executable, "-m", "broker", *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            command, capture_output=True, text=True, cwd=self._folder, env=environment, check=False, timeout=60
        )

    def must(self, *words: str) -> dict[str, str]:
        """Type what has to be taken, and return its JSON."""
        done = self.run(*words)
        assert done.returncode == 0, f"hum {' '.join(words[:2])} fails: {done.stderr.strip()}"
        return json.loads(done.stdout) if "--json" in words else {}

    def enrol(self, name: str, key: int, group: str) -> bool:
        return self.run("authority", "enrol", "--group", group, "--", name, self.keys[key]).returncode == 0

    def enrol_many(self, count: int, group: str) -> None:
        authority = Authority(self._folder / "authority")
        for index in range(count):
            authority.enrol(group, f"meter-{index:02d}-" + "x" * 23, self.keys[index])

    def members(self, group: str) -> list[str]:
        return Authority(self._folder / "authority").devices(group)

    def signs(self, group: str) -> bool:
        """Tell whether the group can have a roster."""
        slot = ("--slot", "load:0:100000", "--output", f"{group}.cose")
        return (
            self.run("authority", "roster", "--group", group, "--coordinator", self._coordinator, *slot).returncode == 0
        )

    def any_of(self, verb: str, group: str, *words: str) -> bool:
        """Tell whether there is a command `verb` that does it, below `authority` or not."""
        commands = (("authority", verb), (verb,))
        return any(self.run(*command, *words, "--group", group).returncode == 0 for command in commands)


def too_many() -> Verdict:
    operator = Operator()
    operator.enrol_many(MOST, "street")
    assert operator.signs("street"), f"a group of {MOST} has no roster"
    taken = operator.enrol("meter-65", MOST, "street")
    signs = operator.signs("street")
    seen = ("accepted" if taken else "refused") + ("" if signs else "; no roster can be signed any more")
    return Verdict(not signs, seen, f"member {MOST + 1}")


def removed(operator: Operator) -> Verdict:
    done = operator.any_of("remove", "main", "kitchen-4") and "kitchen-4" not in operator.members("main")
    return Verdict(not done, "removed" if done else "no command removes a member", "a member removed")


def replaced(operator: Operator) -> Verdict:
    key = operator.keys[MOST]
    done = operator.any_of("replace", "main", "kitchen-2", key)
    return Verdict(not done, "replaced" if done else "no command gives a member a new key", "a board replaced")


def cloned(operator: Operator) -> Verdict:
    taken = operator.enrol("kitchen-9", 0, "main")
    seen = "accepted" if taken else "refused"
    return Verdict(taken, seen + (" and signed" if taken and operator.signs("main") else ""), "one key, two names")


def dashes(operator: Operator) -> Verdict:
    names = {"-": 60, "--help": 61}
    taken = [name for name, key in names.items() if operator.enrol(name, key, "dashes")]
    return Verdict(bool(taken), f"accepted: {', '.join(taken)}" if taken else "refused", "a leading dash")


def fault() -> list[Verdict]:
    operator = Operator()
    for index in range(4):
        assert operator.enrol(f"kitchen-{index + 1}", index, "main"), "an ordinary member is not enrolled"
    assert not any(operator.enrol(name, 62, "main") for name in ("Kitchen 12", "küche", "x" * 40)), (
        "odd names are taken"
    )
    cases: list[Callable[[Operator], Verdict]] = [cloned, dashes, replaced, removed]
    return [too_many(), *(case(operator) for case in cases)]
