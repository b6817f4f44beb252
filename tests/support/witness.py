"""A broker of a simulated fleet with one user more, who hears all and says nothing."""

from pathlib import Path

from broker.deploy.mosquitto.access import Groups
from broker.transport.users import reader
from host_sim.fleet.broker_process import MosquittoBroker

WITNESS = reader("witness")


def with_witness(folder: Path, deployment: str, groups: Groups) -> MosquittoBroker:
    """As host_sim.fleet.broker_process.choose, whose place it takes."""
    broker = MosquittoBroker(folder, deployment, groups, ["witness"])
    with (folder / "access").open("a") as rules:
        rules.write(f"user {WITNESS}\ntopic read #\n")
    return broker
