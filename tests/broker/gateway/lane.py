"""A group of queries that a gateway without a broker knows, and may be asked. No pytest in here."""

import os
from dataclasses import replace
from pathlib import Path

from agent.crypto import p256
from broker.client.members import Watch
from broker.gateway.book import rounds
from broker.gateway.computations.service import Computations
from tests.broker.gateway.gate import Gate, roster
from tests.support.client_town import Town

LANE = "lane"
WISH = {"slot": "load", "function": "mean"}


def watch_of_lane(folder: Path) -> Watch:
    """Return what has taken the lane's roster, of a deployment that is made in `folder`."""
    town = Town(folder)
    watch = Watch(town.access, p256.generate(os.urandom))
    assert watch.take(town.topic("roster", LANE), town.roster(LANE)) == [] and watch.group(LANE)
    return watch


def with_lane(gate: Gate, watch: Watch) -> Gate:
    """Have the gateway serve the lane. Whatever it says is lost."""
    gate.book.write(rounds._keep_roster, replace(roster(LANE), protocol="gossip"))
    gate.serving.computations = Computations(gate.book, gate.hub, watch, gate.feed.say)
    return gate


def ask(gate: Gate, token: str | None = None, key: str = "k", group: str = LANE, **wish):
    """Ask for a computation."""
    headers = {"Idempotency-Key": key}
    return gate.ask(f"/api/v1/groups/{group}/computations", token, "POST", json=WISH | wish, headers=headers)
