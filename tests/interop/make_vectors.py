"""Write tests/interop/vectors/*.json: one group of seven members, of whom one is never switched on, two
rounds, every value on the way, from fixed keys; two onions, and a query.

Run `python -m tests.interop.make_vectors` after a deliberate change of the protocol, and change
docs/protocol/sums.md, queries.md or gateway.md with it. The messages are what the boards' and the
coordinator's machines publish; tests/interop/test_vectors.py and test_query_vectors.py derive the
same values without them. The active set has six of the seven. In round 0 all six are there; meter-d
is dead from round 1 on.
"""

import json
from collections import deque
from dataclasses import replace
from hashlib import sha256
from math import factorial
from pathlib import Path
from typing import Any

from gmpy2 import invert, powmod

from agent.crypto import accelerate, p256
from agent.joye_libert import cohorts, masks, parameters, zero_sum
from agent.protocols.base import policy
from agent.protocols.base.identity import Identity, Policy
from agent.protocols.private_sum import mail
from agent.protocols.private_sum.machine import PrivateSum as Board
from agent.protocols.private_sum.roster_part import SumPart
from agent.wire import coordination, envelope, messages, rosters, topics
from agent.wire.envelope import Context, Envelope
from broker.coordinator.actions import Publish
from broker.coordinator.protocols.private_sum.arithmetic import interpolation
from broker.coordinator.protocols.private_sum.arithmetic.aggregation import product, unmask_factor
from broker.coordinator.protocols.private_sum.machine import PrivateSum
from broker.coordinator.protocols.private_sum.records import ActiveSet, Answer, CloseRound, Contribution, Saved
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope
from host_sim.virtual.at_once import at_once
from tests.interop import gateway_vectors, onion_vectors, query_vectors

FOLDER = Path(__file__).parents[2] / "tests/interop/vectors"
DEPLOYMENT, GROUP, EPOCH = "test-street", "north", 1
SLOTS = [("power", -20000, 20000), ("energy", 0, 1000000)]
READINGS = {
    "meter-a": [(1450, 31000), (1500, 31005)],
    "meter-b": [(-3200, 120), (-20000, 0)],
    "meter-c": [(415, 998877), (20000, 1000000)],
    "meter-d": [(0, 0), (77, 8)],
    "meter-e": [(9, 500000), (-10, 500001)],
    "meter-f": [(-1, 70), (3, 71)],
}
NAMES = sorted(READINGS)
ABSENT = "meter-bb"  # so that positions in the set are not those in the roster
MEMBERS = sorted([*NAMES, ABSENT])
DEAD = "meter-d"
TIME = 1_700_000_000.5
SPREAD = 45
SCHEDULE = Schedule(10.0, 5.0, 0.0)
BRIEF = 256  # bytes: what is longer is given by its SHA-256 and its ends
Values = dict[str, Any]


def private_key(name: str) -> bytes:
    """Return the fixed test key of `name`: a SHA-256 that happens to be a P-256 private key."""
    return sha256(f"hum test vector key: {name}".encode()).digest()


RESULT_KEY = private_key("result")[:16]


class _Group:
    """The machines of the group, and what they said: `sent[topic]` is a list of payloads."""

    def __init__(self) -> None:
        coordinator = private_key("coordinator")
        members = [(name, p256.public_key(private_key(name))) for name in MEMBERS]
        self.roster = rosters.Roster(
            "private-sum",
            "hum-2048",
            SLOTS,
            p256.public_key(coordinator),
            members,
            SumPart(audit=1, spread=SPREAD).fields(),
        )
        self.context = Context(DEPLOYMENT, "roster", GROUP, EPOCH, 0, "authority", "")
        self.signed = envelope.sign(private_key("authority"), self.context, self.roster.encode())
        self.digest = Envelope(self.signed).digest(self.context)
        self.sent: dict[str, list[bytes]] = {}
        self.records: list[Any] = []
        self.flash: dict[tuple[Any, ...], bytes] = {}
        self._posted: deque[tuple[str, bytes]] = deque()
        self.boards = {name: self._board(name, public) for name, public in members if name != ABSENT}
        place = Scope(DEPLOYMENT, GROUP, EPOCH, self.digest, self.signed, self.roster)
        self.time = TIME
        self.coordinator = PrivateSum(place, coordinator, RESULT_KEY, SCHEDULE, Saved(), lambda: self.time)
        self.active: ActiveSet

    def _board(self, name: str, public: bytes) -> Board:
        authority = p256.public_key(private_key("authority"))
        return Board(Identity(DEPLOYMENT, GROUP, name, private_key(name), public, authority, masks_target=2))

    def run(self) -> None:
        """Distribute the roster, make keys, shares and masks, and go through two rounds."""
        for name, board in self.boards.items():
            self._board_does(name, board.link_up())
        self._coordinate(self.coordinator.link_up(0.0), 0.0)
        for name in self.boards:
            self._coordinate(self.coordinator.presence(name, True, 0.0), 0.0)
        self._settle(0.0)
        self._coordinate(self.coordinator.tick(0.5), 0.5)
        self._settle(0.5)
        (self.active,) = [record for record in self.records if isinstance(record, ActiveSet)]
        self._coordinate(self.coordinator.tick(1.0), 1.0)
        self._settle(1.0)
        del self.boards[DEAD]
        # Round 0 is of no instant, round 1 of one that begins a second after it opens.
        self.coordinator._timing._schedule = replace(SCHEDULE, instants=True)
        self.time = TIME + 9
        self._coordinate(self.coordinator.presence(DEAD, False, 9.0), 9.0)
        self._coordinate(self.coordinator.tick(11.0), 11.0)
        self._settle(11.0)

    @property
    def set_digest(self) -> bytes:
        """That of the active set."""
        context = Context(DEPLOYMENT, "active", GROUP, EPOCH, self.active.number, topics.COORDINATOR, "")
        return bytes(Envelope(self.active.message).digest(context))

    def _settle(self, now: float) -> None:
        """Deliver what is posted, and let the boards work one after the other, until there is
        nothing left to do."""
        busy = True
        while busy:
            while self._posted:
                self._deliver(*self._posted.popleft(), now)
            busy = False
            for name in self.boards:
                while not self._posted and (actions := self.boards[name].idle()) is not None:
                    busy = True
                    self._board_does(name, actions)

    def _deliver(self, topic: str, payload: bytes, now: float) -> None:
        self.sent.setdefault(topic, []).append(payload)
        levels = topics.split(topic)[2:]
        if levels[1] == "up":
            self._coordinate(self.coordinator.message(levels[2], levels[3], payload, now), now)
        elif levels[1] == "mail":
            self._to_board(levels[2], topic, payload)
        else:
            for name in list(self.boards):
                self._to_board(name, topic, payload)

    def _to_board(self, name: str, topic: str, payload: bytes) -> None:
        if name in self.boards:
            self._board_does(name, self.boards[name].message(topic, payload))

    def _coordinate(self, actions: list[Any], now: float) -> None:
        for action in at_once(self.coordinator, actions, now):
            if isinstance(action, Publish):
                self._posted.append((action.topic, action.payload))
            else:
                self.records.append(action)

    def _board_does(self, name: str, actions: list[Any]) -> None:
        board = self.boards[name]
        for kind, *arguments in actions:
            if kind == "put":
                self.flash[name, arguments[0]] = arguments[1]
            elif kind == "recall":
                board.recalled(self.flash.get((name, arguments[0])))
            elif kind == "enter":
                self._board_does(name, board.entered(arguments[0]))
            elif kind == "mask":
                self.flash[name, "mask", arguments[1]] = arguments[2]
            elif kind in ("at", "schedule"):
                self._board_does(name, board.elapsed(0))
            elif kind == "take":
                epoch, number, *_ = arguments
                mask = self.flash[name, "mask", number]
                self._board_does(name, board.taken(epoch, number, mask, READINGS[name][number]))
            elif kind == "spend":
                self._board_does(name, board.spent(*arguments))
            elif kind == "hold":
                self.flash[name, "share", *arguments[:2]] = arguments[2]
                self._board_does(name, board.held(*arguments[:2]))
            elif kind == "fetch":
                board.fetched(self.flash[name, "share", *arguments])
            elif kind == "answer":
                epoch, number, _, sealed = arguments
                self._board_does(name, board.answered(epoch, number, sealed))
            elif kind == "publish":
                self._posted.append((arguments[0], arguments[1]))

    def of(self, kind: type, number: int) -> list[Any]:
        """Return the coordinator's records of one kind and round."""
        return [record for record in self.records if isinstance(record, kind) and record.round == number]

    def said(self, kind: str, number: int) -> bytes:
        """Return what was said to all in round `number`; what is cleared again does not count."""
        return [payload for payload in self.sent[topics.group(DEPLOYMENT, GROUP, kind)] if payload][number]

    def uploads(self, name: str, kind: str) -> list[bytes]:
        """Return what a board published to its `kind` topic."""
        return self.sent.get(topics.up(DEPLOYMENT, GROUP, name, kind), [])


def _brief(data: bytes) -> Any:
    if len(data) <= BRIEF:
        return data.hex()
    ends = {"first_16": data[:16].hex(), "last_16": data[-16:].hex()}
    return {"length": len(data), "sha256": sha256(data).hexdigest(), **ends}


def _group_values(group: _Group) -> Values:
    names = ["authority", "coordinator", *MEMBERS]
    identities = {n: {"private": private_key(n).hex(), "public": p256.public_key(private_key(n)).hex()} for n in names}
    allowed = Policy(4, 4, [("power", -30000, 30000), ("energy", 0, 1000000)], 3, 2)
    bound = policy.context(DEPLOYMENT, GROUP, "meter-a", 7)
    member = group.boards["meter-a"].member
    order = sorted(range(len(MEMBERS)), key=lambda index: sha256(group.digest + MEMBERS[index].encode()).digest())
    everybody = (1 << 40) - 1
    active = Envelope(group.active.message)
    return {
        "deployment": DEPLOYMENT,
        "group": GROUP,
        "epoch": EPOCH,
        "slots": SLOTS,
        "identities": identities,
        "result_key": RESULT_KEY.hex(),
        "roster_payload": group.roster.encode().hex(),
        "roster_external_aad": group.context.external_aad().hex(),
        "roster_to_be_signed": envelope.to_be_signed(group.context, group.roster.encode()).hex(),
        "signed_roster": group.signed.hex(),
        "roster_digest": group.digest.hex(),
        "order": order,
        "cohorts": cohorts.assign(MEMBERS, group.digest, group.roster.part[6]),
        # A group this small has one cohort: the rule, on the same digest, for a larger one.
        "cohorts_of_ten_by_four": cohorts.assign([f"b{i}" for i in range(10)], group.digest, 4),
        "ring_of_forty": [
            cohorts.neighbours(i, [f"b{k:02}" for k in range(40)], group.digest, 32, cohorts.SEAL_FLEET, everybody)
            for i in (0, 39)
        ],
        # b01 and b02 are not in the set.
        "ring_of_thirty_eight": [
            cohorts.neighbours(i, [f"b{k:02}" for k in range(40)], group.digest, 32, cohorts.SEAL_FLEET, everybody & ~6)
            for i in (0, 39)
        ],
        "active": {
            "number": group.active.number,
            "members": group.active.members,
            "payload": active.unverified().hex(),
            "signed": group.active.message.hex(),
            "digest": group.set_digest.hex(),
        },
        "threshold": member.threshold,
        "delays": {name: SumPart(spread=SPREAD).delay(group.digest, name) for name in MEMBERS},
        "field": {"prime": str(member.field.p), "element_bytes": member.field.size, "batch": member.field.batch},
        "signed_policy_7_of_meter_a": envelope.sign(private_key("authority"), bound, policy.encode(allowed)).hex(),
    }


def _key_values(group: _Group) -> Values:
    chosen = parameters.load("hum-2048")
    names = [*NAMES, topics.COORDINATOR]
    pairs = {}
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            secret = p256.ecdh(private_key(first), p256.public_key(private_key(second)))
            key = zero_sum.pair_key(secret, group.set_digest, first, second, chosen)
            pairs[f"{first} {second}"] = {"ecdh": secret.hex(), "key": _brief(key.to_bytes(512, "big"))}
    members = {}
    for index, name in enumerate(NAMES):
        key = group.flash[name, "key"]
        mail = key[64 + chosen.exponent_bytes :]
        secret = p256.ecdh(private_key(name), p256.public_key(private_key(topics.COORDINATOR)))
        members[name] = {
            "here_key": zero_sum.round_keys(secret, group.digest, name)[0].hex(),
            "round_key": key[32:48].hex(),
            "opening_key": key[48:64].hex(),
            "exponent": key[64 : 64 + chosen.exponent_bytes].hex(),
            "mail_keys": {to: mail[32 * i : 32 * i + 16].hex() for i, to in enumerate(NAMES) if i != index},
            "here": [payload.hex() for payload in dict.fromkeys(group.uploads(name, "here"))],
            "ready": [payload.hex() for payload in dict.fromkeys(group.uploads(name, "ready"))],
        }
    return {
        "modulus": hex(chosen.n)[2:],
        "pair_keys": pairs,
        "offset": hex(zero_sum.offset(len(MEMBERS), chosen))[2:],
        "members": members,
    }


def _share_values(group: _Group) -> Values:
    shares: Values = {}
    for (holder, record, *rest), data in group.flash.items():
        if record == "share":
            batch, peer = rest
            kind = "key" if batch is None else f"blinding {batch}"
            shares[f"{kind} {MEMBERS[peer]} to {holder}"] = _brief(data)
    letters: Values = {}
    for topic, payloads in group.sent.items():
        levels = topics.split(topic)
        if "mail" in levels and levels[-1] != topics.COORDINATOR:
            dealt = {payload for payload in payloads if Envelope(payload).nonce[0] < mail.VOUCH}
            letters[f"{levels[-1]} to {levels[-2]}"] = sorted(payload.hex() for payload in dealt)
    example = {"meter-a to meter-b": letters["meter-a to meter-b"]}
    brief = {pair: [_brief(bytes.fromhex(one)) for one in every] for pair, every in letters.items()}
    _, _, ask, *_ = mail.letter(group.boards["meter-a"].member, 1, mail.ASK, mail.ASK, 0, messages.nothing())
    return {
        "shares": dict(sorted(shares.items())),
        "mail": dict(sorted(brief.items())),
        "mail_in_full": example,
        "ask_of_meter_a_to_meter_b": ask.hex(),
    }


def _audit_values(group: _Group, number: int) -> Values:
    vouches: Values = {}
    for topic, payloads in sorted(group.sent.items()):
        levels = topics.split(topic)
        for payload in set(payloads) if "mail" in levels and levels[-1] != topics.COORDINATOR else ():
            if Envelope(payload).nonce[0] == mail.VOUCH and Envelope(payload).round == number:
                pair = f"{levels[-1]} to {levels[-2]}"
                assert pair not in vouches, "one letter to each"
                vouches[pair] = payload.hex()
    nobody = messages.share(bytes(8))
    _, _, alarm, *_ = mail.letter(group.boards["meter-a"].member, 1, mail.SPLIT, mail.SPLIT, number, nobody)
    return {"vouches": vouches, "alarm_of_meter_a_to_meter_b": alarm.hex()}


def _opening_values(group: _Group, number: int) -> Values:
    """What the coordinator computes: of one cohort, from the answers at the lowest positions."""
    machine = group.coordinator
    chosen, field, threshold = machine._layout.parameters, machine._layout.field, cohorts.threshold(len(MEMBERS))
    answers = {NAMES.index(a.device) + 1: a for a in group.of(Answer, number)}
    points = dict(sorted(answers.items())[:threshold])
    (unit,) = machine._sets.units({0}).values()
    exponent = unit.exponent
    factor = unmask_factor(chosen, (DEPLOYMENT, GROUP, EPOCH), number, exponent, group.set_digest)
    value = product(chosen, factor, [c.ciphertext for c in group.of(Contribution, number)])
    scale, power, common, modulus = 1, 1, 1, chosen.n**2
    weights, scale = interpolation.lagrange(list(points))
    if any(answer.recovery for answer in points.values()):
        common = scale * factorial(len(NAMES))
        for weight, answer in zip(weights, points.values(), strict=True):
            power = power * powmod(int.from_bytes(answer.recovery, "big"), weight, modulus) % modulus
    opened = int(powmod(value, common, modulus) * power % modulus)
    total = int((opened - 1) // chosen.n * invert(common, chosen.n) % chosen.n)
    blinded = interpolation.blinding_sum(
        {x: int.from_bytes(a.blinding, "big") for x, a in points.items()}, threshold, field.p
    )
    return {
        "unmask_exponent": hex(exponent)[2:],
        "unmask_factor": factor.to_bytes(512, "big").hex(),
        "positions": list(points),
        "scaled_weights": weights,
        "scale": scale,
        "stand_in": int(power).to_bytes(512, "big").hex(),
        "e": common,
        "w": opened.to_bytes(512, "big").hex(),
        "t": str(total),
        "blinding_sum": str(blinded),
        "packed_sum": (total - blinded) % field.p,
    }


def _round_values(group: _Group, number: int) -> Values:
    chosen = parameters.load("hum-2048")
    x0, x1 = masks.base(chosen, DEPLOYMENT, GROUP, EPOCH, number, 0, group.set_digest)
    (closed,) = group.of(CloseRound, number)
    members = {}
    for record in sorted(group.of(Contribution, number), key=lambda record: record.device):
        name = record.device
        mask = group.flash[name, "mask", number]
        m0, m1 = int.from_bytes(mask[:256], "big"), int.from_bytes(mask[256:], "big")
        packed = group.coordinator._layout.packing.pack(READINGS[name][number])
        residue = (m0 + chosen.n * m1).to_bytes(chosen.residue_bytes, "big")
        (contribution,) = (c for c in group.uploads(name, "contribution") if Envelope(c).round == number)
        (answer,) = (a for a in group.uploads(name, "answer") if Envelope(a).round == number)
        members[name] = {
            "reading": READINGS[name][number],
            "packed": packed,
            "blinded": str(_plaintext(chosen, residue, record.ciphertext)),
            "mask": residue.hex(),
            "ciphertext": record.ciphertext.hex(),
            "contribution": contribution.hex(),
            "receipt": record.receipt.hex(),
            "answer": answer.hex(),
        }
    payload = Envelope(closed.message).unverified()
    sealed = coordination.read_result(payload)[3]
    return {
        "round": number,
        "base": (x0 + chosen.n * x1).to_bytes(chosen.residue_bytes, "big").hex(),
        "opening": group.said("round", number).hex(),
        "absent": messages.read_opening(group.said("round", number))[4],
        "members": members,
        "present": messages.read_roll(Envelope(group.said("roll", number)).unverified())[1],
        "roll": group.said("roll", number).hex(),
        **_audit_values(group, number),
        **_opening_values(group, number),
        "sums": closed.sums,
        "missing": closed.missing,
        "sealed_sums": sealed.hex(),
        "result": closed.message.hex(),
    }


def _off_grid_values(group: _Group) -> Values:
    """A policy that allows rounds off the grid, and what a coordinator says of one."""
    outgoing, bound = group.coordinator._outgoing, policy.context(DEPLOYMENT, GROUP, "meter-a", 8)
    allowed = policy.encode(Policy(off_grid=24))
    result = outgoing.result(2, {0}, coordination.INCOMPLETE, [DEAD], None, messages.OFF_GRID)
    return {
        "signed_policy_8_of_meter_a": envelope.sign(private_key("authority"), bound, allowed).hex(),
        "round": 2,
        "opening": outgoing.opening(2, {0}, 0, {}, int(TIME) + 15, messages.OFF_GRID).hex(),
        "result": result.hex(),
    }


def _plaintext(chosen: parameters.Parameters, mask: bytes, ciphertext: bytes) -> int:
    modulus = chosen.n**2
    inverse = invert(int.from_bytes(mask, "big"), modulus)
    return int((int.from_bytes(ciphertext, "big") * inverse % modulus - 1) // chosen.n)


def build() -> dict[str, str]:
    """Return {file name: text} of all vectors."""
    accelerate.use_host_libraries()
    try:
        group = _Group()
        group.run()
        values = {"group": _group_values(group), "keys": _key_values(group), "shares": _share_values(group)}
        values |= {f"round-{number}": _round_values(group, number) for number in (0, 1)}
        values["off-grid"] = _off_grid_values(group)
        values["onions"] = onion_vectors.values()
        values["queries"] = query_vectors.values()
        values["gateway"] = gateway_vectors.values()
    finally:
        accelerate.install()
    return {f"{name}.json": json.dumps(value, indent=1) + "\n" for name, value in values.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file_name, text in build().items():
        (FOLDER / file_name).write_text(text)
