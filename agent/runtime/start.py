"""From a board's settings (settings.py) to a running board."""

import asyncio
import gc
import sys

from agent.crypto.key_code import key_code
from agent.protocols import registry
from agent.protocols.base.identity import Identity
from agent.runtime import key_pair
from agent.runtime.flash.masks import MaskStock
from agent.runtime.flash.shares import ShareStock
from agent.runtime.flash.store import Store
from agent.runtime.net import mqtt
from agent.runtime.settings import SettingsError, check
from agent.runtime.supervisor import Supervisor
from agent.runtime.system import diagnostics
from agent.runtime.system.clock import Clock
from agent.runtime.system.ticks import ticks_diff, ticks_ms
from agent.wire import messages, topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext
    from typing import Any

    from agent.meters import Meter, Register
    from agent.protocols.base.identity import Policy
    from agent.protocols.base.machine import Machine
    from agent.runtime.net.wifi import Wifi
    from agent.runtime.supervisor import Log, Task
    from agent.runtime.system.clock import RealTimeClock
    from agent.runtime.system.watchdog import Dog

    AtEnd = Callable[[], None]
    Settings = dict[str, Any]  # as check() has found them

# A radio that lost its way, or a network stack without a socket left, is reset with the rest.
UNLINKED_MOST_S = 7200
TIGHT_WORDS = 26000  # of heap, for a board that answers queries
METER_S = 60  # for its task to show that it is alive


def assemble(settings: "Settings", meter: "Meter", log: "Log") -> Supervisor:
    """Return a Supervisor made from `settings`, a dictionary, with `meter`: without a radio, a
    watchdog or a clock of the machine's.

    Raises SettingsError, KeyPairError, Corrupt if the record of the key pair or of the policy is
    damaged, and StoreError if that of what was spent or answered is.
    """
    check(settings)
    store = Store(settings.get("flash") or "/state")
    clock = Clock(store, settings.get("time") or 0)
    client = _client(settings)
    if not settings.get("host") or settings.get("gateways"):
        _reach(settings, client, None, clock)
    return _board(settings, client, store, clock, meter, log, diagnostics.Health(store, clock))


def assemble_board(settings: "Settings", log: "Log", version: int = 0) -> Supervisor:
    """Return a Supervisor for the machine that this runs on, with all that the settings name:
    Wi-Fi, meter, and the machine's watchdog and clock where there are such. `version` is the
    application's, for diagnostics. Raises as `assemble`.

    The watchdog runs when this returns. run() the board within TIMEOUT_MS, and reset the machine
    whenever that ends: by Restart, MemoryError, a failure of any kind, or a return. Only who
    interrupts it (KeyboardInterrupt) shall get the console.
    """
    check(settings)
    store = Store(settings.get("flash") or "/state")
    clock = Clock(store, settings.get("time") or 0, _real_time_clock())
    wifi = _wifi(settings, log) if settings.get("wifi") else None
    health = diagnostics.Health(store, clock, wifi, diagnostics.reset_cause(), version)
    client = _client(settings)
    meter, task, at_end = _meter(settings.get("meter"), store, clock)
    board = _board(settings, client, store, clock, meter, log, health)
    if task:
        board.add("meter", METER_S, lambda alive: _again(task, board.machine, log, alive))
    board.at_end = at_end
    if wifi:
        board.wifi = wifi
        board.add("wifi", METER_S, wifi.run)
        board.unlinked_most_s = UNLINKED_MOST_S
        # The old link leads nowhere, but nobody would tell for half a minute.
        wifi.on_rejoin = client.drop
    _reach(settings, client, wifi, clock)
    dog = _watchdog(log)
    if dog:
        from agent.runtime.system.watchdog import Watchdog

        board.watchdog = Watchdog(dog, log)
    return board


async def _again(task: "Task", machine: "Machine", log: "Log", alive: "Callable[[], None]") -> None:
    """Run a meter's task; a UART or a pin that fails is one failure more, and read again."""
    while True:
        try:
            await task(alive)
            return
        except (OSError, RuntimeError) as error:
            machine.refuse("driver-meter")
            log("driver", {"of": "meter", "error": repr(error)})
        alive()
        await asyncio.sleep(1)


def _client(settings: "Settings") -> mqtt.Client:
    """Raises SettingsError."""
    context = _trust(settings["ca"]) if settings.get("ca") else None
    device = settings["device"]
    return mqtt.Client(
        settings.get("host"),
        settings.get("port") or (8883 if context else 1883),
        device,
        user=device,
        password=settings.get("password"),
        will=(topics.device(settings["deployment"], device, "state"), messages.presence(False), 1, True),
        ssl=context,
        server_name=settings.get("server_name"),
    )


def _board(
    settings: "Settings",
    client: mqtt.Client,
    store: Store,
    clock: Clock,
    meter: "Meter",
    log: "Log",
    health: diagnostics.Health,
) -> Supervisor:
    authority = bytes.fromhex(settings["authority"])
    private, public = key_pair.load_or_make(store, b"", True)
    policy = _policy(settings, authority, store)
    log("identity", {"public": public.hex(), "code": key_code(public)})
    identity = Identity(
        settings["deployment"],
        settings["group"],
        settings["device"],
        private,
        public,
        authority,
        policy,
        settings.get("masks_target") or 8,
    )
    protocol = settings.get("protocol") or "private-sum"
    if registry.sends_kilobytes(protocol):
        _collect_often()
    machine = registry.make(protocol, identity)
    client.letters = machine.letters()
    diagnostics_s = settings.get("diagnostics_s") or 60
    masks, shares = MaskStock(store), ShareStock(store)
    shares.answered()  # before there is a watchdog: what cannot be read is told, and no reset helps
    return Supervisor(client, store, masks, shares, machine, meter, log, diagnostics_s, clock, health)


def _collect_often() -> None:
    """Kilobytes come and go in a query: garbage between would leave a small heap without room."""
    if hasattr(gc, "threshold"):
        heap = gc.mem_alloc() + gc.mem_free()  # type: ignore[attr-defined]  # MicroPython's alone
        if heap // (8 if sys.maxsize > 0xFFFFFFFF else 4) < TIGHT_WORDS:
            gc.threshold(6144)  # bytes, as agent/runtime sets it for heaps that are tighter still


def _reach(settings: "Settings", client: mqtt.Client, wifi: "Wifi | None", clock: Clock) -> None:
    from agent.runtime.net.reach import Reach  # a board on a loopback needs none of it

    host, port = client.address[:2]
    way = Reach(client, host, port, settings["deployment"], wifi, clock)
    if settings.get("gateways"):
        from agent.runtime.net.gateways import of_settings

        way.others = of_settings(settings, host, port)
    client.prepare = way.prepare


def _real_time_clock() -> "RealTimeClock | None":
    """The machine's own, None where there is none."""
    try:
        from machine import RTC
    except ImportError:
        return None
    return RTC()


def _watchdog(log: "Log") -> "Dog | None":
    """The machine's own, None where there is none. It runs from now on."""
    try:
        from machine import WDT
    except ImportError:
        return None
    from agent.runtime.system.watchdog import TIMEOUT_MS

    try:
        return WDT(timeout=TIMEOUT_MS)
    except (OSError, RuntimeError, ValueError) as error:
        log("driver", {"of": "watchdog", "error": repr(error)})  # without one a board still works
        return None


def _wifi(settings: "Settings", log: "Log") -> "Wifi":
    import network

    from agent.runtime.net.wifi import Wifi

    wifi = settings["wifi"]
    try:
        if wifi.get("country"):
            network.country(wifi["country"])
        network.hostname(settings["device"])
    except (OSError, RuntimeError, ValueError) as error:
        log("wifi", {"error": repr(error)})  # a board under another name is better than none
    station = network.WLAN(network.STA_IF)
    made = Wifi(station, wifi["ssid"], wifi.get("password") or "", log, bool(wifi.get("power_save")))
    made.switch_on()  # before anything is drawn: an ESP32's numbers are not random without
    return made


def _meter(meter: "Settings | None", store: Store, clock: Clock) -> "tuple[Meter, Task | None, AtEnd | None]":
    """Return (a meter, the task that reads what it is at, what saves that at the end), None each
    where there is no such. Raises SettingsError."""
    if not meter:
        raise SettingsError("meter")
    if meter["kind"] == "simulated":
        from agent.meters.simulated import SimulatedMeter

        return SimulatedMeter(meter["columns"]), None, None
    from agent.meters.register import RegisterMeter

    try:
        source, task, at_end = _source(meter, store, clock)
    except (ValueError, OSError, RuntimeError):  # no such pin, UART or file on this board
        raise SettingsError("meter") from None
    return RegisterMeter(source), task, at_end


def _source(meter: "Settings", store: Store, clock: Clock) -> "tuple[Register, Task | None, AtEnd | None]":
    """As _meter, with the meter's register for the meter."""
    if meter["kind"] in ("p1", "sml"):
        if meter["kind"] == "p1":
            from agent.meters.p1_port import at_uart
        else:
            from agent.meters.sml.port import at_uart
        port = at_uart(meter, ticks_ms, ticks_diff)
        return port, port.run, None
    if meter["kind"] == "s0":
        from agent.meters.pulse import OFF_MS, ON_MS
        from agent.meters.s0_pin import S0Pin, open_pin

        pin = open_pin(meter["pin"])
        on_ms, off_ms = meter.get("on_ms") or ON_MS, meter.get("off_ms") or OFF_MS
        pulses = S0Pin(pin, store, ticks_ms, ticks_diff, meter["impulses"], on_ms=on_ms, off_ms=off_ms)
        return pulses, pulses.run, pulses.save
    from agent.meters import played

    try:
        values = played.read(meter["path"])
    except played.PlayedError:
        raise SettingsError("meter.path") from None
    return played.PlayedRegister(values, lambda: clock.uptime() // meter["step_s"]), None, None


def _policy(settings: "Settings", authority: bytes, store: Store) -> "Policy | None":
    """Return the Policy in the settings, None where they have none. Raises SettingsError.

    The record "policy" is the greatest serial number (4 bytes) that the board ever obeyed: an older
    policy does not come back, and neither does having none.
    """
    record = store.read("policy")
    least = int.from_bytes(record, "big") if record else 0
    serial, policy = _signed_policy(settings, authority) if settings.get("policy") is not None else (0, None)
    if serial < least:
        raise SettingsError("policy")
    if serial > least:
        store.put("policy", serial.to_bytes(4, "big"))
    return policy


def _signed_policy(settings: "Settings", authority: bytes) -> "tuple[int, Policy]":
    """Return (serial, Policy). Raises SettingsError."""
    from agent.protocols.base import policy
    from agent.wire.envelope import EnvelopeError

    try:
        signed = bytes.fromhex(settings["policy"])
        return policy.verify(signed, authority, settings["deployment"], settings["group"], settings["device"])
    except (TypeError, ValueError, EnvelopeError, messages.MessageError):
        raise SettingsError("policy") from None


def _trust(path: str) -> "SSLContext":
    """The SSLContext for the certificate at `path`. Raises SettingsError."""
    from agent.runtime.net import trust

    try:
        return trust.load(path)
    except (OSError, ValueError):
        raise SettingsError("ca") from None
