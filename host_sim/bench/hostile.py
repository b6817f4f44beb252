"""Groups for measuring the coordinator: honest ones in mid-round, and one whose answers take it
long to open.

The hostile group has 64 members in one cohort, of whom one is missing and 20 answer with a wrong
recovery share: more than can be told apart at once. Shares and blinding are made by one who knows
the coordinator's key, which saves 63 boards; what the coordinator does with them is the same.
"""

import math
import os
import random

from gmpy2 import mpz, powmod

from agent.crypto import p256
from agent.joye_libert import blinding, cohorts, masks, parameters
from agent.joye_libert.packing import Packing
from agent.protocols.private_sum.membership import CONTRIBUTION_NONCE, nonce
from agent.protocols.private_sum.roster_part import SumPart, read_part
from agent.wire import messages, rosters, topics
from agent.wire.envelope import Context, Envelope, seal, sign
from broker.coordinator.protocols.private_sum.arithmetic import aggregation
from broker.coordinator.protocols.private_sum.machine import PrivateSum
from broker.coordinator.protocols.private_sum.outgoing import SumOutgoing
from broker.coordinator.protocols.private_sum.records import ActiveSet, Answer, Contribution, MasksUntil, Saved
from broker.coordinator.protocols.private_sum.sets.in_force import Sets
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope

DEPLOYMENT = "bench"
SLOTS = [("load", 0, 1 << 30)]
NUMBER = 1  # of the active set
LIARS = 20
MEMBERS = 64
TOTAL = 123456


class Group:
    """A roster of `count` members with fresh keys, for the coordinator with the key `private`."""

    def __init__(self, name: str, count: int, private: bytes) -> None:
        self.private = private
        self.names = [f"{name}-b{index:02d}" for index in range(count)]
        keys = [p256.generate(os.urandom) for _ in self.names]
        members = [(device, p256.public_key(key)) for device, key in zip(self.names, keys, strict=True)]
        part = SumPart(MEMBERS).fields()
        roster = rosters.Roster("private-sum", "hum-2048", SLOTS, p256.public_key(private), members, part)
        context = Context(DEPLOYMENT, "roster", name, 1, 0, "authority", "")
        signed = sign(p256.generate(os.urandom), context, roster.encode())
        self.scope = Scope(DEPLOYMENT, name, 1, Envelope(signed).digest(context), signed, roster)
        self.chosen = parameters.load("hum-2048")
        self.everyone = (1 << count) - 1
        sets = Sets(self.scope, aggregation.Secrets(private, self.scope, read_part(part), self.chosen), {})
        self.outgoing = SumOutgoing(self.scope, private, bytes(16), sets)
        # All are in the set NUMBER.
        message = self.outgoing.active(0, NUMBER, self.everyone)
        self.active = ActiveSet(name, 1, 0, NUMBER, self.everyone, message, 0.0)
        self.keys = sets.put(self.active).keys

    def opened(self) -> Saved:
        """Return what a machine is restored from whose round 0 is open."""
        said = (NUMBER, 9, 9, self.everyone, self.everyone)
        masks_until = {name: MasksUntil(self.scope.group, 1, name, *said) for name in self.names}
        opening = self.outgoing.opening(0, {0}, 0, {}, 0)
        return Saved(open_message=opening, masks_until=masks_until, sets={0: self.active})

    def machine(self, schedule: Schedule, saved: Saved) -> PrivateSum:
        """Return the group's machine."""
        return PrivateSum(self.scope, self.private, bytes(16), schedule, saved)

    def contribution(self, device: str) -> tuple[str, bytes]:
        """Return (topic, envelope) of a contribution as the board would seal it. Nobody opens its
        ciphertext here."""
        held = (self.everyone, self.everyone)
        plain = messages.contribution(os.urandom(self.chosen.residue_bytes - 1).rjust(512, b"\0"), 9, *held)
        context = self.scope.up("contribution", 0, device, NUMBER)
        sealed = seal(self.keys.round_keys[device], nonce(CONTRIBUTION_NONCE, 0), context, plain)
        return str(topics.up(DEPLOYMENT, self.scope.group, device, "contribution")), bytes(sealed)


def hostile(name: str, private: bytes, liars: int = LIARS) -> tuple[Group, Saved]:
    """Return a group of MEMBERS whose round 0 has all its answers, `liars` of them wrong, and what
    its machine is restored from. The sum is TOTAL."""
    group = Group(name, MEMBERS, private)
    drawn = random.Random(1)
    chosen, modulus = group.chosen, mpz(group.chosen.n) ** 2
    field = blinding.field(Packing(SLOTS, MEMBERS, chosen.bits).bits)
    unit = group.keys.unit
    (cohort,) = unit.cohorts
    threshold = cohorts.threshold(MEMBERS)
    x0, x1 = masks.base(chosen, DEPLOYMENT, name, 1, 0, 0, unit.digest)
    base = mpz(x0) + chosen.n * mpz(x1)
    secret = drawn.getrandbits(4096)  # the missing member's exponent
    in_exponent = [drawn.getrandbits(4600) for _ in range(threshold - 1)]
    blinds = [drawn.randrange(field.p) for _ in range(threshold)]
    answers = []
    for x, index in enumerate(cohort[:-1], 1):
        share = math.factorial(MEMBERS) * secret + sum(a * x**power for power, a in enumerate(in_exponent, 1))
        recovery = powmod(base, share, modulus) * (3 if x <= liars else 1) % modulus
        blinded = sum(a * pow(x, power, field.p) for power, a in enumerate(blinds)) % field.p
        parts = (blinded.to_bytes(field.size, "big"), int(recovery).to_bytes(chosen.residue_bytes, "big"))
        answers.append(Answer(name, 1, 0, group.names[index], bytes(32), *parts))
    saved = group.opened()
    saved.answers = answers
    present = group.everyone & ~(1 << cohort[-1])
    saved.roll_message = group.outgoing.roll(0, {0}, present)
    plain = (TOTAL + blinds[0]) % field.p
    masked = (1 + plain * mpz(chosen.n)) * powmod(base, unit.exponent - secret, modulus) % modulus
    one = (1).to_bytes(chosen.residue_bytes, "big")
    held = (group.everyone, group.everyone)
    for index in cohort[:-1]:
        ciphertext = int(masked).to_bytes(chosen.residue_bytes, "big") if index == cohort[0] else one
        record = Contribution(name, 1, 0, group.names[index], bytes(32), ciphertext, *held, b"")
        saved.open_contributions.append(record)
    return group, saved
