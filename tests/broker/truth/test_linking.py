"""Which lost links are another coordinator's doing, which are tried for ever, and which are not."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.crypto import accelerate
from broker.coordinator.linking import REPEAT_S, SHORT_S, TRIAL_S, Linking
from broker.coordinator.service import Service
from broker.errors import Denied
from broker.transport.link import Link, LinkDenied, LinkError
from host_sim.fleet.broker_process import HOST, MosquittoBroker
from tests.support.hand_made import SCHEDULE, World

LOST = LinkError("Disconnected")
WAIT_S = 100.0


@pytest.fixture(autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


@pytest.fixture
def linking() -> Linking:
    return Linking(Link(HOST, 8883, "coordinator", "x", None))


def flap(linking: Linking, now: float, lasted: float = 1.0) -> float:
    linking.linked(now)
    return linking.lost(LOST, now + lasted)


def test_who_was_there_first_goes_on_and_names_the_other_once_a_minute(
    linking: Linking, caplog: pytest.LogCaptureFixture
) -> None:
    flap(linking, 0.0, lasted=SHORT_S)
    caplog.clear()
    assert {flap(linking, 100.0 + 2 * at) for at in range(20)} == {1.0}
    assert linking.trial_s == 0.0
    named = [record for record in caplog.records if "another coordinator" in record.getMessage()]
    assert [record.levelno for record in named] == [logging.ERROR] and len(caplog.records) == 2
    flap(linking, 100.0 + 2 * REPEAT_S)
    assert sum("another coordinator" in record.getMessage() for record in caplog.records) == 2


def test_who_comes_second_stands_back_and_tries_a_link_before_it_says_anything(linking: Linking) -> None:
    assert flap(linking, 0.0) == 1.0 and linking.trial_s == 0.0  # a broker may have started again
    waits = [flap(linking, 10.0 * at) for at in range(1, 8)]
    assert linking.trial_s == TRIAL_S
    assert 15 <= waits[0] <= 30 and all(wait <= 600 for wait in waits) and waits[-1] >= 300
    linking.linked(1000.0)
    linking.lost(LOST, 1000.0 + SHORT_S)  # the other one is gone
    assert linking.trial_s == 0.0


def test_a_broker_that_cannot_be_reached_is_tried_for_ever_and_said_once_a_minute(
    linking: Linking, caplog: pytest.LogCaptureFixture
) -> None:
    for second in range(150):
        assert linking.lost(LinkError("Connection refused"), float(second)) == 1.0
    assert len(caplog.records) == 3 and "another" not in caplog.text


def test_a_broker_that_was_away_between_two_short_links_is_no_second_coordinator(
    linking: Linking, caplog: pytest.LogCaptureFixture
) -> None:
    for at in range(5):
        flap(linking, 10.0 * at)
        linking.lost(LinkError("Connection refused"), 10.0 * at + 3)
    assert "another" not in caplog.text


def test_who_is_not_let_in_does_not_try_again(linking: Linking) -> None:
    with pytest.raises(Denied, match="does not let coordinator in") as caught:
        linking.lost(LinkDenied("Not authorized"), 0.0)
    assert caught.value.exit_code == 4


@pytest.mark.alone
def test_a_real_broker_refuses_a_wrong_password_and_the_service_ends(tmp_path: Path) -> None:
    world = World(tmp_path / "world", 3, SCHEDULE)
    broker = MosquittoBroker(tmp_path / "broker", "test", {"main": world.names})

    async def main() -> None:
        await broker.start()
        try:
            service = Service(
                "test", [world.machine], world.home.storage, Link(HOST, broker.port, "coordinator", "wrong", None)
            )
            async with asyncio.timeout(WAIT_S):
                with pytest.raises(Denied, match="give credentials"):
                    await service.run()
        finally:
            await broker.stop()

    asyncio.run(main())
    world.close()
