"""Write tests/vectors/*.json: one group of three boards, two rounds, every value on the way, from fixed keys.

Run `python -m tests.make_vectors` after a deliberate change of the protocol, and change docs/protocol.md with it. The messages
are what the boards' and the coordinator's machines publish; tests/test_vectors.py derives the same values without them.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from agent.crypto import accelerate, p256
from agent.joye_libert import masks, parameters, zero_sum
from agent.joye_libert.packing import Packing
from agent.protocols.private_sum import PrivateSum as Board
from agent.protocols.provision import Provision
from agent.wire import coordination, envelope, messages, topics
from agent.wire.envelope import Context
from broker.coordinator.actions import CloseRound, Publish, Saved
from broker.coordinator.aggregation import open_sum, unmask_factor
from broker.coordinator.protocols.private_sum import Place, PrivateSum, Schedule

FOLDER = Path(__file__).parent / "vectors"
DEPLOYMENT, GROUP, EPOCH = "test-street", "north", 1
SLOTS = [("power", -20000, 20000), ("energy", 0, 1000000)]
READINGS = {
    "meter-a": [(1450, 31000), (1500, 31005)],
    "meter-b": [(-3200, 120), (-20000, 0)],
    "meter-c": [(415, 998877), (20000, 1000000)],
}
Values = dict[str, Any]


def private_key(name: str) -> bytes:
    """Return the fixed test key of `name`: a SHA-256 that happens to be a P-256 private key."""
    return sha256(f"hum test vector key: {name}".encode()).digest()


RESULT_KEY = private_key("result")[:16]


class _Group:
    """The machines of the group, and what they published: `sent[topic]` is a list of payloads."""

    def __init__(self) -> None:
        authority = private_key("authority")
        coordinator = private_key("coordinator")
        members = [(name, p256.public_key(private_key(name))) for name in sorted(READINGS)]
        self.roster = messages.Roster("private-sum", "hum-2048", SLOTS, p256.public_key(coordinator), members)
        self.context = Context(DEPLOYMENT, "roster", GROUP, EPOCH, 0, "authority", "")
        self.signed = envelope.sign(authority, self.context, self.roster.encode())
        self.digest = envelope.Envelope(self.signed).digest(self.context)
        self.sent: dict[str, list[bytes]] = {}
        self.closed: list[CloseRound] = []
        self.masks: dict[tuple[str, int], bytes] = {}
        self.keys: dict[str, bytes] = {}
        self.burnt: dict[tuple[str, int], bytes] = {}
        self.boards = {name: self._board(name, public, p256.public_key(authority)) for name, public in members}
        place = Place(DEPLOYMENT, GROUP, EPOCH, self.digest, self.signed, self.roster)
        self.coordinator = PrivateSum(place, coordinator, RESULT_KEY, Schedule(10.0, 5.0, 0.0), Saved())

    def _board(self, name: str, public: bytes, authority: bytes) -> Board:
        place = Provision(DEPLOYMENT, GROUP, name, private_key(name), public, authority, masks_target=2)
        return Board(place)

    def run(self) -> None:
        """Distribute the roster, make keys and masks, and go through two rounds."""
        self._coordinate(self.coordinator.link_up(0.0))
        for name, board in self.boards.items():
            board.link_up()
            self._idle(name)
        for now in (0.0, 10.0):
            self._coordinate(self.coordinator.tick(now))
            for name in self.boards:
                self._idle(name)

    def _idle(self, name: str) -> None:
        while (actions := self.boards[name].idle()) is not None:
            self._board_does(name, actions)

    def _coordinate(self, actions: list[Any]) -> None:
        for action in actions:
            if isinstance(action, CloseRound):
                self.closed.append(action)
            if isinstance(action, Publish):
                self.sent.setdefault(action.topic, []).append(action.payload)
                for name, board in self.boards.items():
                    if action.topic in board.subscriptions():
                        self._board_does(name, board.message(action.topic, action.payload))

    def _board_does(self, name: str, actions: list[Any]) -> None:
        board = self.boards[name]
        for kind, *arguments in actions:
            if kind == "put" and arguments[0] == "key":
                self.keys[name] = arguments[1]
            elif kind == "mask":
                _, number, self.masks[name, number] = arguments
            elif kind == "take":
                epoch, number = arguments
                mask = self.masks[name, number]
                self._board_does(name, board.taken(epoch, number, mask, READINGS[name][number]))
            elif kind == "spend":
                self.burnt[name, arguments[1]] = arguments[2]
                self._board_does(name, board.spent(*arguments))
            elif kind == "publish":
                self.sent.setdefault(arguments[0], []).append(arguments[1])
                device, upload = topics.split(arguments[0])[-2:]
                self._coordinate(self.coordinator.message(device, upload, arguments[1], 1.0))


def _brief(key: int, size: int) -> Values:
    data = key.to_bytes(size, "big")
    return {"sha256": sha256(data).hexdigest(), "first_16": data[:16].hex(), "last_16": data[-16:].hex()}


def _group_values(group: _Group) -> Values:
    names = ["authority", "coordinator", *sorted(READINGS)]
    identities = {n: {"private": private_key(n).hex(), "public": p256.public_key(private_key(n)).hex()} for n in names}
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
    }


def _key_values(group: _Group) -> Values:
    chosen = parameters.load("hum-2048")
    names = [*sorted(READINGS), topics.COORDINATOR]
    pairs = {}
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            secret = p256.ecdh(private_key(first), p256.public_key(private_key(second)))
            key = zero_sum.pair_key(secret, group.digest, first, second, chosen)
            pairs[f"{first} {second}"] = {"ecdh": secret.hex(), **_brief(key, chosen.residue_bytes)}
    members = {
        name: {"exponent": key[64:].hex(), "round_key": key[32:48].hex(), "opening_key": key[48:64].hex()}
        for name, key in sorted(group.keys.items())
    }
    return {
        "modulus": hex(chosen.n)[2:],
        "pair_keys": pairs,
        "offset": hex(zero_sum.offset(len(READINGS), chosen))[2:],
        "members": members,
        "ready": {name: group.sent[topics.up(DEPLOYMENT, GROUP, name, "ready")][0].hex() for name in sorted(READINGS)},
    }


def _round_values(group: _Group, number: int) -> Values:
    chosen = parameters.load("hum-2048")
    packing = Packing(SLOTS, len(READINGS), chosen.bits)
    x0, x1 = masks.base(chosen, DEPLOYMENT, GROUP, EPOCH, number, 0)
    exponent = group.coordinator._keys.exponent
    factor = unmask_factor(chosen, (DEPLOYMENT, GROUP, EPOCH), number, exponent)
    members = {}
    ciphertexts = []
    for name in sorted(READINGS):
        mask = group.masks[name, number]
        plaintext = packing.pack(READINGS[name][number])
        ciphertexts.append(masks.protect(mask, plaintext, chosen))
        m0, m1 = int.from_bytes(mask[:256], "big"), int.from_bytes(mask[256:], "big")
        members[name] = {
            "reading": READINGS[name][number],
            "mask": (m0 + chosen.n * m1).to_bytes(chosen.residue_bytes, "big").hex(),
            "plaintext": plaintext,
            "ciphertext": ciphertexts[-1].hex(),
            "contribution": group.burnt[name, number].hex(),
            "receipt": group.sent[topics.mail(DEPLOYMENT, GROUP, name, topics.COORDINATOR)][number].hex(),
        }
    sealed = coordination.read_result(envelope.Envelope(group.closed[number].message)._body)[3]
    return {
        "round": number,
        "base": (x0 + chosen.n * x1).to_bytes(chosen.residue_bytes, "big").hex(),
        "opening": group.sent[topics.group(DEPLOYMENT, GROUP, "round")][1 + 2 * number].hex(),
        "members": members,
        "unmask_exponent": hex(exponent)[2:],
        "unmask_factor": factor.to_bytes(chosen.residue_bytes, "big").hex(),
        "total": open_sum(chosen, factor, ciphertexts),
        "sums": group.closed[number].sums,
        "sealed_sums": sealed.hex(),
        "result": group.closed[number].message.hex(),
    }


def build() -> dict[str, str]:
    """Return {file name: text} of all vectors."""
    accelerate.use_host_libraries()
    try:
        group = _Group()
        group.run()
        values = {"group": _group_values(group), "keys": _key_values(group)}
        values |= {f"round-{number}": _round_values(group, number) for number in (0, 1)}
    finally:
        accelerate.install()
    return {f"{name}.json": json.dumps(value, indent=1) + "\n" for name, value in values.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file_name, text in build().items():
        (FOLDER / file_name).write_text(text)
