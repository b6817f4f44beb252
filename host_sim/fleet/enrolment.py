"""What a fleet is given before it starts: an authority, the coordinator's folder, boards' policies,
and the roster of them all."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.joye_libert.cohorts import assign
from agent.protocols import QUERIES
from agent.protocols.base.identity import Policy
from agent.wire.envelope import Context, Envelope
from broker.authority.authority import Authority
from broker.coordinator.home import Home
from broker.coordinator.protocols.gossip.blind_signer import BlindSigner
from host_sim.fleet.plan import DEPLOYMENT, GROUP, Plan


@dataclass(frozen=True)
class Enrolled:
    """`authority`: its public key, hexadecimal. `result_keys`: those of the published results, by
    group.
    `policies`: each device's signed policy, hexadecimal. `cohorts`: the names of GROUP's devices.
    `rosters`: their files, by group.
    """

    authority: str
    result_keys: dict[str, bytes]
    policies: dict[str, str]
    cohorts: list[list[str]]
    rosters: dict[str, Path]


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
    policies: dict[str, str] = {}
    cohorts: list[list[str]] = []
    rosters: dict[str, Path] = {}
    result_keys = {group: home.result_keys.make(group) for group in plan.groups()}
    for group, (devices, slots) in plan.groups().items():
        for device in devices:
            authority.enrol(group, device, publics[device])
        least = min(3, len(devices))
        for device in devices:
            chosen = Policy(least, least, off_grid=plan.off_grid)
            policies[device] = authority.sign_policy(group, device, chosen)[1].hex()
        epoch, signed = authority.sign_roster(group, home.public, slots, plan.protocol, plan.parameters, **options)
        rosters[group] = folder / ("roster.cose" if group == GROUP else f"roster-{group}.cose")
        rosters[group].write_bytes(signed)
        if group == GROUP:
            digest = Envelope(signed).digest(Context(DEPLOYMENT, "roster", group, epoch, 0, "authority", ""))
            cohorts = _cohorts(sorted(devices), digest, plan.cohort)
    return Enrolled(authority.public, result_keys, policies, cohorts, rosters)


def _cohorts(names: list[str], digest: bytes, most: int) -> list[list[str]]:
    return [[names[index] for index in members] for members in assign(names, digest, most)]
