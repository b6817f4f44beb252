"""Twelve solar homes with real processes: MicroPython boards with P1, SML and S0 meters at lines,
Mosquitto, and the coordinator, in rounds of instants.

A meter goes on as soon as its board has taken a reading, and stands still until the next instant:
so what a board reads at each is one number. Which that was, should a machine be so slow that it is
not the latest, tells the bookmark that went into the board's flash with the contribution. The sums
are checked against the meters: all that a register gained up to what its board read last is in one
published sum, or is what the board still owes because a contribution of it came too late.
"""

import asyncio
import time
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import aiomqtt
import pytest

from agent.meters.bookmark import unpack
from agent.wire import topics
from agent.wire.envelope import Envelope
from broker.client import Access, Reader, RoundResult
from host_sim.fleet import broker_process
from host_sim.fleet.broker_process import HOST
from host_sim.fleet.fleet import Fleet
from host_sim.fleet.pace import pace
from host_sim.fleet.plan import DEPLOYMENT, GROUP, Plan
from tests.support.processes import running
from tests.support.solar_meters import Pulsing, Read, homes
from tests.support.witness import WITNESS, with_witness

pytestmark = pytest.mark.alone

ROUNDS = 20
INTERVAL_S = 8  # a port reads a telegram in 5
WORK_S = 8  # of twelve boards, for a round, beside another test: a mask each
SPREAD = 2
LANE = "lane"  # of the meters with pulses, which tell no more than what was taken
WH, W = 6000, 24000
SLOTS = {
    GROUP: [
        ("load", 0, WH), ("export", 0, WH), ("load-t1", 0, WH), ("load-t2", 0, WH), ("power", 0, W), ("export-power", 0, W)
    ],
    LANE: [("load", 0, WH)],
}  # fmt: skip


class Town:
    """The homes and what is seen of them. `read`: the meter's step that a board read for a round;
    `sent`, what of its registers it sent then; `owed`, what it kept back."""

    def __init__(self, folder: Path) -> None:
        made = homes()
        self.meters = {device: meter for device, (meter, _) in made.items()}
        lane = [device for device, meter in self.meters.items() if isinstance(meter, Pulsing)]
        interval = float(round(INTERVAL_S + WORK_S * pace()))
        chosen = Plan(
            columns={device: [] for device in made},
            slots=SLOTS[GROUP],
            rounds=ROUNDS,
            interval=interval,
            window=0.6 * interval,
            runtime="micropython",
            heap="256k",
            masks_target=4,
            instants=True,
            spread=SPREAD,
            meters={device: (setting, self.meters[device].line) for device, (_, setting) in made.items()},
            others={LANE: (lane, SLOTS[LANE])},
        )
        self.fleet = Fleet(folder, chosen, self._hear)
        self.groups = {group: devices for group, (devices, _) in chosen.groups().items()}
        self.read: dict[tuple[str, int], Read] = {}
        self.sent: dict[tuple[str, int], Read] = {}
        self.owed: dict[tuple[str, int], Read] = {}
        self.behind: Counter[int] = Counter()  # readings by how many steps the meter was ahead
        self.arrived: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
        self.results: dict[tuple[str, int], RoundResult] = {}
        self._at: dict[str, int] = {}  # the step a meter was at when its board took a reading

    def _hear(self, device: str, event: str, fields: dict[str, Any]) -> None:
        meter = self.meters[device]
        if event == "taken":
            self._at[device] = len(meter.steps) - 1
            meter.go_on()
        elif event == "online":
            self._note(device, fields["round"], bytes.fromhex(fields["bookmark"]))

    def _note(self, device: str, number: int, bookmark: bytes) -> None:
        read, accounts = unpack(bookmark)
        assert read == number
        assert not any(account.doubt for account in accounts.values())
        told = {slot: account.seen for slot, account in accounts.items()}
        steps = self.meters[device].steps[: self._at[device] + 1]
        found = [at for at, step in enumerate(steps) if {slot: step[slot] for slot in told} == told]
        assert found, f"{device} read {told} for round {number}: its meter never told that"
        self.read[device, number] = steps[found[-1]]
        self.sent[device, number] = {slot: account.carried for slot, account in accounts.items()}
        self.owed[device, number] = {slot: account.owed for slot, account in accounts.items()}
        self.behind[self._at[device] - found[-1]] += 1

    async def send(self) -> None:
        """The meters' telegrams, one a second."""
        while True:
            for meter in self.meters.values():
                meter.send()
            await asyncio.sleep(1)

    async def watch(self) -> None:
        """Follow contributions and results."""
        enrolled = self.fleet.enrolled
        access = Access(DEPLOYMENT, bytes.fromhex(enrolled.authority), result_keys=enrolled.result_keys)
        reader = Reader(access)
        password = self.fleet.broker.credentials[WITNESS]
        async with aiomqtt.Client(HOST, self.fleet.broker.port, username=WITNESS, password=password) as client:
            for wanted in (*reader.filters(), topics.up(DEPLOYMENT, "+", "+", "contribution")):
                await client.subscribe(wanted, qos=1)
            async for message in client.messages:
                topic, payload = str(message.topic), bytes(message.payload)  # type: ignore[arg-type]
                match topics.split(topic):
                    case [_, _, group, "up", sender, _]:
                        self.arrived[group, Envelope(payload).round].setdefault(sender, time.time())
                        continue
                result = reader.take(topic, payload, time.monotonic())
                if isinstance(result, RoundResult):
                    self.results[result.group, result.round] = result

    async def all_rounds(self, tasks: "list[asyncio.Task[None]]") -> None:
        """Wait until the coordinator ends, and all that it published is here."""
        deadline = time.monotonic() + 200 * pace() + 2 * ROUNDS * self.fleet.plan.interval
        assert self.fleet.coordinator
        wanted = len(self.groups) * ROUNDS
        while self.fleet.coordinator.returncode is None or len(self.results) < wanted:
            for failed in (self.fleet.failed, *tasks):
                if failed.done():
                    failed.result()
            if self.fleet.coordinator.returncode:
                raise self.fleet.coordinator_ended()
            assert time.monotonic() < deadline, f"{len(self.results)} of {wanted} results"
            await asyncio.sleep(0.05)

    def check(self, group: str) -> int:
        """Every sum of the group is exact; return how many readings are in one."""
        instants = [self.results[group, number].instant or 0 for number in range(ROUNDS)]
        assert instants == sorted(set(instants))
        assert all(instant % self.fleet.plan.interval == 0 for instant in instants)
        published: dict[str, Counter[str]] = {device: Counter() for device in self.groups[group]}
        late: set[str] = set()  # boards of which a contribution was
        readings = 0
        for number in range(ROUNDS):
            result = self.results[group, number]
            assert result.status == "complete", (group, number)
            late.update(device for device in result.missing if (device, number) in self.read)
            totals = Counter(dict.fromkeys([slot for slot, _, _ in SLOTS[group]], 0))
            for device in set(self.groups[group]) - set(result.missing):
                readings += 1
                totals.update(self.sent[device, number])
                published[device].update(self.sent[device, number])
                read = self.read[device, number]
                totals.update({slot: read[slot] for slot in totals if slot.endswith("power")})
                self._settled(device, number, published[device])
                assert device in late or not any(self.owed[device, number].values())
            assert result.sums == list(totals.values()), (group, number)
        assert readings > ROUNDS * len(published) / 2
        return readings

    def _settled(self, device: str, number: int, published: "Counter[str]") -> None:
        """All that went through the registers since the board's first reading is published, but for
        what it owes."""
        first = min(known for name, known in self.read if name == device)
        for slot, owed in self.owed[device, number].items():
            flown = self.read[device, number][slot] - self.read[device, first][slot]
            assert published[slot] + owed == flown, (device, number, slot)

    def told(self, group: str) -> str:
        """Return how far apart contributions came, in seconds."""
        spans, delays = [], []
        for number in range(ROUNDS):
            moments = self.arrived[group, number].values()
            spans.append(max(moments) - min(moments))
            delays += [moment - (self.results[group, number].instant or 0) for moment in moments]
        line = f"contributions {min(delays):.2f} to {max(delays):.2f} s after their instants"
        return f"{line} (median {median(delays):.2f}), first to last of a round {min(spans):.2f} to {max(spans):.2f} s"


@pytest.mark.proof
def test_every_slot_of_twelve_solar_homes_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_process, "choose", with_witness)

    async def play() -> None:
        town = Town(tmp_path)
        tasks = [asyncio.create_task(town.send())]
        try:
            await town.fleet.start(lambda done, total: None)
            tasks.append(asyncio.create_task(town.watch()))
            await town.all_rounds(tasks)
        finally:
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)
            await town.fleet.stop()
            for meter in town.meters.values():
                meter.close()
        assert running(tmp_path) == {}
        for group, devices in town.groups.items():
            counted = town.check(group)
            print(f"{group}: {counted} of {ROUNDS * len(devices)} readings in {ROUNDS} exact sums; {town.told(group)}")
        print(f"readings by how many steps the meter was ahead: {dict(town.behind)}")

    asyncio.run(play())
