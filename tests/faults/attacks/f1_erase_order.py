"""An erasure that is cut off keeps the board's key pair and loses its burn record.

The command removes the records in reverse order of their names, the burn record "spent" before
"identity". A board that is cut off in between and provisioned again under its name is enrolled
with the same key and takes up the retained roster of the same epoch. The coordinator replays an
opening and gets a second ciphertext under the same mask and blinding: the quotient of the two
tells the difference of two readings.

What must hold: no cut leaves a board that sends a second ciphertext for a round.
"""

import errno
from pathlib import Path
from tempfile import mkdtemp

from gmpy2 import invert

from agent.meters.simulated import SimulatedMeter
from agent.wire.envelope import Envelope
from firmware.device import flash
from firmware.device.port import DeviceError, PortError
from firmware.device.session import Device
from tests.faults.verdict import Verdict
from tests.host_sim.test_lying_coordinator import VICTIM, World
from tests.support.quick_arithmetic import remembered

FIRST, SECOND = 31007, 30500  # Wh
KEYS, BURNT = "/state/identity", "/state/spent"


class Port:
    """Carries out what removes files on a dictionary of them; the plug is pulled before the
    command number `cut`."""

    def __init__(self, files: list[str], cut: int) -> None:
        self.files = set(files)
        self._left = cut

    def run(self, code: str, seconds: float = 0) -> bytes:
        self._left -= 1
        if self._left == 0:
            raise PortError("unplugged")
        path = code.split("'")[1]
        if code.startswith("os.remove"):
            if path not in self.files:
                raise DeviceError("no such file", errno.ENOENT)
            self.files.remove(path)
        return b""


class Board(Device):
    """A board behind such a port."""

    def __init__(self, port: Port) -> None:
        self.port = port

    def tree(self, folder: str) -> dict[str, tuple[int, bytes]]:
        return {path[len(folder) + 1 :]: (1, b"") for path in self.port.files if path.startswith(folder + "/")}

    def _is_folder(self, path: str) -> bool:
        return any(name.startswith(path + "/") for name in self.port.files)


def cuts(records: list[str]) -> tuple[int, list[set[str]]]:
    """Erase a board with these records, cut off before each command in turn.

    Return how many cuts there are, and what is left after each that keeps the key pair without the
    burn record.
    """
    files = ["/main.py", "/version", "/settings.json", *(f"/state/{name}" for name in records)]
    assert {KEYS, BURNT} <= set(files), "the records have other names"
    bad = []
    for cut in range(1, 200):
        port = Port(files, cut)
        try:
            flash.erase(Board(port))
        except PortError:
            if KEYS in port.files and BURNT not in port.files:
                bad.append(port.files)
            continue
        assert not any(path.startswith("/state/") for path in port.files), "the erasure leaves records"
        return cut - 1, bad
    raise AssertionError("an erasure without an end")


def difference(world: World, left: set[str]) -> int | None:
    """Start the victim with what is left, replay the opening of round 0; return the difference of
    the readings, if it tells."""
    victim = world.boards[VICTIM]
    first = world.ciphertexts(0)[victim.name]
    victim.crash()
    for name in list(victim.store.records):
        if f"/state/{name}" not in left:
            del victim.store.records[name]
    victim.meter = SimulatedMeter([[SECOND]])
    victim.start()
    world.clock.run(world.clock.now + 60)
    mark = len(world.network.log)
    world.open(0)
    sent = [entry for entry in world.network.log[mark:] if entry[0] == victim.name]
    for _, topic, payload in sent:
        if topic.endswith("/contribution"):
            second = int.from_bytes(world.uploads.contribution(victim.name, VICTIM, Envelope(payload))[0], "big")
            n = world.parameters.n
            told, rest = divmod(int(first * invert(second, n * n) % (n * n)) - 1, n)
            if second != first and rest == 0:
                return told if told < n // 2 else told - n
    return None


def fault() -> Verdict:
    with remembered():
        world = World(Path(mkdtemp()), colluders=0)
        victim = world.boards[VICTIM]
        victim.meter = SimulatedMeter([[FIRST] * 3])
        world.open(0)
        count, bad = cuts(sorted([*victim.store.records, "identity"]))
        told = difference(world, bad[-1]) if bad else None
    seen = f"{len(bad)} of {count} cuts keep the key pair without its burn record"
    if told is not None:
        seen += f"; two ciphertexts tell a difference of {told} Wh (true: {FIRST - SECOND})"
    return Verdict(told is not None, seen)
