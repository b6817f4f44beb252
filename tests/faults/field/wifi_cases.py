"""An error of the Wi-Fi's driver that the board does not expect ends the task that keeps the Wi-Fi,
for good.

Drivers raise RuntimeError ("Wifi Unknown Error 0x0101") and OSError from any call (micropython
#7904, #12750, #17027).

What must hold: a driver that fails is one failure more, and the Wi-Fi is joined at the next try.
"""

import asyncio
from collections.abc import Callable

from tests.agent.runtime.test_wifi import Driver, Night
from tests.faults.verdict import Verdict


class Failing(Driver):
    """A driver whose method `name` raises `error` once."""

    def __init__(self, name: str, error: Exception, there: bool = True) -> None:
        super().__init__(there)
        self.raised = False
        self._failing = name
        self._error = error

    def _fail(self, name: str) -> None:
        if name == self._failing and not self.raised:
            self.raised = True
            raise self._error

    def _note(self, name: str, *arguments: object) -> None:
        super()._note(name, *arguments)
        self._fail(name if name in ("active", "connect", "disconnect") else "config")

    def isconnected(self) -> bool:
        self._fail("isconnected")
        return super().isconnected()

    def status(self, what: str | None = None) -> int:
        self._fail("status")
        return super().status(what)

    def ifconfig(self) -> tuple[str, ...]:
        self._fail("ifconfig")
        return super().ifconfig()


def night(driver: Driver, done: Callable[[Night], bool]) -> str:
    """Return "" if `done` comes true, or what happened."""
    made = Night(driver)

    async def scenario(night: Night) -> None:
        for _ in range(4000):
            await asyncio.sleep(0)

    try:
        made.run(scenario)
    except AssertionError:
        return "the task is dead"
    return "" if done(made) else "the Wi-Fi is not joined"


def fault() -> list[Verdict]:
    assert not night(Driver(), lambda made: made.wifi.joins > 0), "a sound driver's network is not joined"
    unknown = RuntimeError("Wifi Unknown Error 0x0101")
    verdicts = []
    for name, error in (
        ("connect", OSError("Wifi Internal Error")),
        ("connect", unknown),
        ("active", unknown),
        ("disconnect", unknown),
        ("config", unknown),
        ("isconnected", OSError(110)),
        ("ifconfig", OSError(110)),
        ("status", OSError(110)),  # asked for while the network is not there
    ):
        driver = Failing(name, error, there=name != "status")
        ends = night(driver, lambda made, name=name: made.wifi.joins > 0 or name == "status")
        assert driver.raised, f"{name} was never called"
        verdicts.append(Verdict(bool(ends), ends or "survived", f"{name}: {type(error).__name__}"))
    return verdicts
