"""Meters of solar homes at pseudo-terminals, as UARTs and pins are (host_sim/fleet/lines.py): they
go on by a quarter of an hour when they are told to, and stand still in between."""

import os
import tty
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from host_sim.data import solar
from host_sim.meters import made
from host_sim.years import home

DAY = 45  # of the year: a day in February
START = 24  # the quarter to begin with, before tariff 2 does and the sun rises

Read = dict[str, int]  # Wh and W by slot


class Meter:
    """One home's. `line` is the path of its far end, `steps` what a board may have read: the slots'
    values after each quarter of an hour. What it counts itself is in tenths of Wh."""

    def __init__(self, random: Random, days: list[list[int]]) -> None:
        self.near, self._far = os.openpty()
        tty.setraw(self._far)
        os.set_blocking(self.near, False)
        self.line = os.ttyname(self._far)
        self.steps: list[Read] = []
        self._random = random
        self._roof = solar.generation(DAY, random)
        self._house = random.choice(days)
        self._quarter = START

    def flow(self) -> Read:
        """Return what goes through which register in the next quarter of an hour, in tenths of Wh:
        1 Wh at least."""
        consumed = self._random.randint(0, self._house[self._quarter // 2])
        wh = solar.net(DAY, self._quarter, consumed, self._roof[self._quarter])
        rest = self._random.randint(10, 19)
        slot = "export" if wh["export"] else solar.tariff(DAY, self._quarter)
        self._quarter += 1
        return {slot: 10 * wh[slot] + rest}

    def go_on(self) -> None:
        """The next quarter of an hour has gone by."""

    def send(self) -> None:
        """Send a telegram, if this meter does."""

    def write(self, data: bytes) -> None:
        """Send `data`; what nobody reads in time is lost, as at a UART."""
        with suppress(BlockingIOError):
            os.write(self.near, data)

    def close(self) -> None:
        os.close(self.near)
        os.close(self._far)


class Telling(Meter):
    """One that sends telegrams: `telegram(registers, power)` makes them; it has a register of all
    that was taken if it is `summing`, else the sum of its tariffs is read."""

    def __init__(
        self, random: Random, days: list[list[int]], telegram: Callable[[Read, int], bytes], summing: bool
    ) -> None:
        super().__init__(random, days)
        self._telegram = telegram
        self._summing = summing
        self._registers = {slot: random.randrange(10**8) for slot in ("export", "load-t1", "load-t2")}
        self._power = 0  # W, below 0 when it feeds in
        self._step()

    def go_on(self) -> None:
        for slot, tenths in self.flow().items():
            self._registers[slot] += tenths
            self._power = tenths * 4 // 10 * (-1 if slot == "export" else 1)
        self._step()

    def _step(self) -> None:
        shown = {slot: tenths // 10 for slot, tenths in self._registers.items()}
        tariffs = [self._registers[slot] for slot in ("load-t1", "load-t2")]
        shown["load"] = sum(tariffs) // 10 if self._summing else sum(tenths // 10 for tenths in tariffs)
        self.steps.append({**shown, "power": max(0, self._power), "export-power": max(0, -self._power)})

    def send(self) -> None:
        self.write(self._telegram(self._registers, self._power))


class Pulsing(Meter):
    """One that gives `impulses` a kWh for what is taken: a byte each."""

    def __init__(self, random: Random, days: list[list[int]], impulses: int) -> None:
        super().__init__(random, days)
        self._impulses = impulses
        self._tenths = self._pulses = 0
        self.steps.append({"load": 0})

    def go_on(self) -> None:
        self._tenths += sum(tenths for slot, tenths in self.flow().items() if slot != "export")
        due = self._tenths * self._impulses // 10000 - self._pulses
        for _ in range(due):
            self._pulses += 1
            self.steps.append({"load": 1000 * self._pulses // self._impulses})
        self.write(b"." * due)


def p1(name: str, summing: bool = False, **form: Any) -> Callable[[Read, int], bytes]:
    """Return what makes the telegrams of a P1 port, `form` as host_sim/meters/made.p1 wants it."""

    def kilo(number: int) -> str:
        return f"{number // 1000:06}.{number % 1000:03}"

    def telegram(registers: Read, power: int) -> bytes:
        lines = ["1-3:0.2.8(50)", f"0-0:96.1.1({name.encode().hex()})"]
        if summing:
            lines.append(f"1-0:1.8.0({kilo((registers['load-t1'] + registers['load-t2']) // 10)}*kWh)")
        for tariff in (1, 2):
            lines.append(f"1-0:1.8.{tariff}({kilo(registers[f'load-t{tariff}'] // 10)}*kWh)")
        lines += ["1-0:2.8.1(000000.000*kWh)", f"1-0:2.8.2({kilo(registers['export'] // 10)}*kWh)"]
        lines += [f"1-0:1.7.0({kilo(max(0, power))}*kW)", f"1-0:2.7.0({kilo(max(0, -power))}*kW)"]
        return made.p1(lines, **form)

    return telegram


def sml(server: bytes, holley: bool = False) -> Callable[[Read, int], bytes]:
    """Return what makes the telegrams of an optical port."""

    def telegram(registers: Read, power: int) -> bytes:
        entries = [made.entry("1.8.0", registers["load-t1"] + registers["load-t2"])]
        entries += [made.entry(f"1.8.{tariff}", registers[f"load-t{tariff}"]) for tariff in (1, 2)]
        entries += [made.entry("2.8.0", registers["export"]), made.entry("16.7.0", made.signed(power), 27, 0)]
        return made.sml(entries, server, holley)

    return telegram


def homes() -> dict[str, tuple[Meter, dict[str, Any]]]:
    """Return the meters of twelve homes by the names of their boards, and each board's setting
    "meter"."""
    random, days = Random(13), home.days()
    found: dict[str, tuple[Meter, dict[str, Any]]] = {}
    at = {"uart": 1, "rx": 5}
    p1_forms: list[tuple[bool, dict[str, Any]]] = [
        (False, {}),
        (True, {"checksum": "x25"}),
        (True, {"gap": 0}),
        (False, {}),
    ]
    for number, (summing, form) in enumerate(p1_forms, 1):
        name, framing = f"p1-{number}", "7E1" if number == 4 else "8N1"
        plain = p1(name, summing, **form)
        telegram = (lambda *told, plain=plain: made.with_parity(plain(*told))) if framing == "7E1" else plain
        setting = {"kind": "p1", "rate": 115200, "framing": framing, **at}
        found[name] = Telling(random, days, telegram, summing), setting
    for number in range(1, 5):
        telegram = sml(b"\x0a\x01HUM\x00\x01\x02\x03" + bytes([number]), holley=number == 4)
        found[f"sml-{number}"] = Telling(random, days, telegram, True), {"kind": "sml", **at}
    for number, impulses in enumerate((20, 32, 40, 50), 1):
        meter = Pulsing(random, days, impulses)
        found[f"s0-{number}"] = meter, {"kind": "s0", "pin": 5, "impulses": impulses}
    return found
