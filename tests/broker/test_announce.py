"""The coordinator's announcement, heard by a real MicroPython over real multicast on the
loopback."""

import asyncio
import gc
import json
import logging
import secrets
import socket
import sys
import warnings
from pathlib import Path

import pytest

from broker.transport import announce

ROOT = Path(__file__).parents[2]
MICROPYTHON = Path(sys.executable).parent / "micropython"
LOOPBACK = "127.0.0.1"
BROKER = "192.0.2.77"  # of those that documentation may use: nobody's
LONG_S = 60.0
SHORT_S = 1.0


@pytest.fixture
def deployment() -> str:
    """A name that no other test and no neighbour uses, for all of the machine hear each other."""
    return f"street-{secrets.token_hex(8)}"


async def ask(deployment: str, seconds: float, *labels: str) -> list[tuple[str, int]]:
    """What a board finds that wants these labels."""
    arguments = ["tests/support/discovery_board.py", str(socket.IP_MULTICAST_IF), LOOPBACK, deployment, str(seconds)]
    arguments += labels
    board = await asyncio.create_subprocess_exec(
        MICROPYTHON, "-X", "heapsize=64k", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await board.communicate()
    assert board.returncode == 0
    return [(host, port) for host, port in json.loads(output)]


def test_a_board_finds_what_is_announced_and_only_while_it_is(
    deployment: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hum.coordinator")

    async def main() -> None:
        async with announce.announced(deployment, BROKER, 8883, None, [LOOPBACK]):
            found = await asyncio.gather(ask(deployment, LONG_S), ask(deployment + "-b", SHORT_S))
            assert found == [[(BROKER, 8883)], []]
        assert await ask(deployment, SHORT_S) == []

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records] == [f"announced at {BROKER}, port 8883"]


def test_who_wants_labels_finds_who_is_announced_with_them(deployment: str) -> None:
    async def main() -> None:
        async with (
            announce.announced(deployment, BROKER, 1, None, [LOOPBACK], ["feeder=7"]),
            announce.announced(deployment, BROKER, 2, None, [LOOPBACK], ["feeder=7", "north", "x=" + "y" * 32]),
        ):
            found = await asyncio.gather(
                ask(deployment, LONG_S, "north", "feeder=7"), ask(deployment, SHORT_S, "south")
            )
            assert found == [[(BROKER, 2)], []]

    asyncio.run(main())


@pytest.mark.parametrize("labels", [["a", "b", "c", "d"], ["a,b"], [""], ["North"]])
def test_labels_that_cannot_be_announced_are_refused(deployment: str, labels: list[str]) -> None:
    async def main() -> None:
        async with announce.announced(deployment, BROKER, 1, None, [LOOPBACK], labels):
            raise AssertionError("it was announced")

    with pytest.raises(announce.LabelsError, match="at most 3 labels are announced, NAME or NAME=VALUE"):
        asyncio.run(main())


def test_two_that_announce_one_deployment_are_both_found(deployment: str) -> None:
    async def main() -> None:
        async with (
            announce.announced(deployment, BROKER, 1, None, [LOOPBACK]),
            announce.announced(deployment, BROKER, 2, None, [LOOPBACK]),
        ):
            async with asyncio.timeout(LONG_S):
                while await ask(deployment, LONG_S) != [(BROKER, 1), (BROKER, 2)]:
                    pass

    asyncio.run(main())


def test_a_broker_of_this_machine_alone_is_announced_only_if_wanted() -> None:
    async def main() -> None:
        for host in ("127.0.0.1", "127.9.9.9"):
            assert await announce._addresses(host, False) == []
            assert await announce._addresses(host, True) == announce.own_addresses()
        for forced in (False, True):
            assert await announce._addresses(BROKER, forced) == [BROKER]

    asyncio.run(main())
    assert not any(address.startswith("127.") for address in announce.own_addresses())


def lines_of(
    caplog: pytest.LogCaptureFixture, deployment: str, host: str, wanted: bool | None, interfaces: list[str]
) -> list[str]:
    """The log of a coordinator that announces, or tries to, and goes on until that is settled."""
    caplog.set_level(logging.INFO, "hum.coordinator")

    async def main() -> None:
        before = asyncio.all_tasks()
        async with announce.announced(deployment, host, 8883, wanted, interfaces):
            await asyncio.wait(asyncio.all_tasks() - before or {asyncio.create_task(asyncio.sleep(0))}, timeout=LONG_S)

    asyncio.run(main())
    return [record.getMessage() for record in caplog.records]


def test_what_goes_wrong_is_one_line_in_the_log(deployment: str, caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the library leaves its socket to the collector
        (line,) = lines_of(caplog, deployment, BROKER, None, ["192.0.2.78"])  # no interface of this machine's
        gc.collect()
    assert line.startswith("not announced: ")


def test_an_address_that_is_none_is_one_line_in_the_log(deployment: str, caplog: pytest.LogCaptureFixture) -> None:
    (line,) = lines_of(caplog, deployment, "x" * 64 + ".invalid", None, [LOOPBACK])  # too long to be asked for
    assert line.startswith("not announced: ")


def test_nothing_is_announced_or_said_of_a_broker_on_the_loopback_or_if_not_wanted(
    deployment: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert lines_of(caplog, deployment, LOOPBACK, None, [LOOPBACK]) == []
    assert lines_of(caplog, deployment, BROKER, False, [LOOPBACK]) == []


def test_what_ends_the_coordinator_at_once_is_not_changed_and_leaves_nothing_behind(deployment: str) -> None:
    async def main() -> None:
        before = asyncio.all_tasks()
        try:
            async with announce.announced(deployment, BROKER, 8883, None, [LOOPBACK]):
                await asyncio.sleep(0)
                raise RuntimeError("the database")
        finally:
            assert asyncio.all_tasks() == before

    with pytest.raises(RuntimeError, match=r"^the database$"):
        asyncio.run(main())
