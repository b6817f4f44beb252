"""The visitors of a town's gateway, as they tell of themselves (visitors.py), and whether what they
were told is true."""

import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker.files import replace
from firmware.build.compile import ROOT
from host_sim.fleet.child import Child
from host_sim.town.town import LABEL, Town, tied

STOP_S = 8.0
TROUBLES_MOST = 20  # that are kept

Round = tuple[str, int, int]  # group, epoch, number


@dataclass
class Heard:
    """What visitors said so far. `rounds` has the body of each round that a listener was told of,
    and how many told it; `page` is what the page showed when it was looked at last."""

    rounds: dict[Round, dict[str, Any]] = field(default_factory=dict)
    tellers: dict[Round, Counter[str]] = field(default_factory=dict)
    differing: set[Round] = field(default_factory=set)
    answers: list[float] = field(default_factory=list)
    troubles: Counter[str] = field(default_factory=Counter)
    page: dict[str, Any] = field(default_factory=dict)
    looks: int = 0

    def take(self, raw: bytes) -> None:
        """Take a line of the program's."""
        said = json.loads(raw)
        if "trouble" in said and len(self.troubles) < TROUBLES_MOST:
            self.troubles[f"{said['visitor']}: {said['trouble']}"] += 1
        elif "body" in said:
            body = said["body"]
            key = (body["group"], body["epoch"], body["round"])
            if self.rounds.setdefault(key, body) != body:
                self.differing.add(key)
            self.tellers.setdefault(key, Counter())[said["visitor"]] += 1
        elif "seconds" in said:
            self.answers.append(said["seconds"])
        elif "cards" in said:
            self.page, self.looks = said, self.looks + 1


class Crowd:
    """`clients` API clients, of which half listen, and a page."""

    def __init__(self, folder: Path, town: Town, clients: int) -> None:
        self.heard = Heard()
        self.listeners = {f"l{number:02d}" for number in range(1, clients, 2)}
        self._log = folder / "visitors.log"
        self._wishes = folder / "visitors.json"
        self._town = town
        self._clients = clients

    async def run(self) -> None:
        """Start them, and hear them until they end."""
        tokens = [self._town.token(f"visitor {number}") for number in range(self._clients + 1)]
        gateway = self._town.deployment.settings.gateway
        wishes = {"address": f"http://{gateway.address}:{gateway.port}", "tokens": tokens, "label": LABEL}
        replace(self._wishes, json.dumps(wishes | {"groups": list(self._town.size.devices())}).encode())
        with self._log.open("ab") as log:
            command = tied(sys.executable, "-m", "host_sim.town.visitors", str(self._wishes))
            child = Child(command, ROOT, log)
        try:
            await child.follow(self.heard.take)
        finally:
            await child.stop(STOP_S)
