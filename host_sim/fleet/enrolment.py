"""What a fleet is given before it starts: an authority, the coordinator's folder, boards' policies,
and the roster of them all."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.joye_libert import cohorts
from agent.protocols import QUERIES
from agent.protocols.base.identity import Policy
from agent.wire.envelope import Context, Envelope
from broker.authority.authority import Authority
from broker.coordinator.home import Home
from broker.coordinator.protocols.gossip.blind_signer import BlindSigner
from host_sim.fleet.plan import DEPLOYMENT, GROUP, Plan


@dataclass(frozen=True)
class Enrolled:
    """`authority`: its public key, hexadecimal. `result_key`: that of the published results.
    `policies`: each device's signed policy, hexadecimal. `cohorts`: the devices' names. `roster`:
    its file.
    """

    authority: str
    result_key: bytes
    policies: dict[str, str]
    cohorts: list[list[str]]
    roster: Path


def enrol(folder: Path, plan: Plan, publics: dict[str, str]) -> Enrolled:
    """Make all of it below `folder`; `publics` are the boards' public keys, hexadecimal, by
    device."""
    authority = Authority.init(folder / "authority", DEPLOYMENT)
    home = Home.init(folder / "coordinator", DEPLOYMENT, bytes.fromhex(authority.public))
    options: dict[str, Any] = {}
    if plan.protocol not in QUERIES:
        options = {"cohort": plan.cohort, "seal": plan.seal, "spread": plan.spread}
    if plan.protocol == "gossip-bft":
        signer = BlindSigner(home.folder)
        options["signer"] = signer.modulus
        signer.close()
    home.storage.close()
    for device, public in publics.items():
        authority.enrol(GROUP, device, public)
    least = min(3, len(publics))
    policies = {device: authority.sign_policy(GROUP, device, Policy(least, least))[1].hex() for device in publics}
    epoch, signed = authority.sign_roster(GROUP, home.public, plan.slots, plan.protocol, plan.parameters, **options)
    roster = folder / "roster.cose"
    roster.write_bytes(signed)
    names = sorted(publics)
    digest = Envelope(signed).digest(Context(DEPLOYMENT, "roster", GROUP, epoch, 0, "authority", ""))
    assigned = [[names[index] for index in members] for members in cohorts.assign(names, digest, plan.cohort)]
    return Enrolled(authority.public, home.result_key, policies, assigned, roster)
