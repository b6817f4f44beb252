"""The cohort part of `make bench`: a real board goes through both rounds, and the bytes are those
of the messages."""

import sys

import pytest

from agent.joye_libert import blinding, cohorts
from agent.runtime.net import mqtt_packets as packets
from agent.wire import active_sets, messages, topics
from agent.wire.envelope import Context, Envelope, seal
from host_sim.bench import cohort as bench_cohort
from host_sim.bench import cohort_street
from host_sim.bench.group import SLOTS, Group
from host_sim.bench.peers import BoardLost, BoardProcess, make_peers, run
from host_sim.fleet.programs import compile_boards

pytestmark = pytest.mark.alone


def quiet(phase):
    """Say nothing of the phases."""


@pytest.fixture(scope="module")
def firmware(tmp_path_factory):
    return compile_boards(tmp_path_factory.mktemp("firmware"))


@pytest.fixture(scope="module")
def figures(firmware):
    return bench_cohort.measure(firmware, 4, SLOTS, quiet)


@pytest.mark.proof
def test_a_board_goes_through_a_round_with_all_and_one_with_members_missing(figures):
    assert (figures["members"], figures["threshold"], figures["missing"]) == (4, 3, 1)
    assert (figures["blinding bits"], figures["rounds a batch"]) == (128, 32)
    assert figures["resets"] == 0
    assert figures["answer, some missing, ms"] > figures["answer, ms"] > 0


@pytest.mark.proof
def test_a_recovery_share_is_what_members_that_are_missing_cost_on_the_wire(figures):
    share = figures["round sent, some missing, B"] - figures["round sent, B"]
    assert 512 <= share <= 520  # its 512 bytes, and longer heads
    assert figures["total sent a round, B"] > figures["round sent, B"] + figures["batch sent a round, B"]


@pytest.mark.proof
def test_what_a_board_deals_its_peers_deal_to_it(figures):
    assert figures["batch sent, B"] == figures["batch received, B"]
    per_peer = figures["batch sent, B"] / 3
    assert per_peer > 512  # the shares of one batch
    assert figures["batch sent a round, B"] == round(figures["batch sent, B"] / 32, 1)


@pytest.mark.proof
def test_the_flash_holds_a_key_share_and_two_batches_of_each_peer(figures):
    others = ["roster", "secrets", "active", "key", "acks", "mask", "mask"]
    assert figures["flash records"] == 1 + 2 + len(others)  # what the three peers dealt is in one record each
    assert figures["flash blocks of 4096"] >= figures["flash records"]


@pytest.mark.proof
def test_the_heap_in_a_round_is_at_least_what_is_live_before(figures):
    assert 0 < figures["heap joined, B"] <= figures["heap most in a round, B"]
    assert figures["heap most, some missing, B"] <= 400 * 1024


def test_a_heap_that_is_too_small_is_an_error_and_no_figure(firmware):
    with pytest.raises(BoardLost, match="MemoryError"):
        bench_cohort.measure(firmware, 4, SLOTS, quiet, "60k")


def test_a_message_sent_again_is_counted_once_and_each_under_its_purpose():
    bytes_of = cohort_street.Bytes(32)
    mail = topics.mail("bench", "main", "b000", "b001")
    context = Context("bench", "blinding", "main", 1, 64, "b001", "b000", 9)
    batch = seal(bytes(16), bytes([5, *bytes(7), 5]) + (64).to_bytes(4, "big"), context, b"x")
    acknowledged = seal(bytes(16), bytes([6, *bytes(7), 5]) + (64).to_bytes(4, "big"), context, b"")
    key = seal(bytes(16), bytes([6, *bytes(7), 4]) + bytes(4), Context("bench", "held", "main", 1, 0, "", "", 9), b"")
    ready = seal(bytes(16), bytes([2, *bytes(12)]), Context("bench", "ready", "main", 1, 7, "b000", "", 9), b"")
    here = [
        seal(
            bytes(16),
            bytes([9]) + number.to_bytes(4, "big") + bytes(8),
            Context("bench", "here", "main", 1, 0, "", ""),
            b"",
        )
        for number in (0, 9)
    ]
    group = Group(4, SLOTS)
    for topic, payload in (
        (topics.up("bench", "main", "b000", "here"), here[0]),
        (topics.active("bench", "main", 0), group.active(9)),
        (topics.up("bench", "main", "b000", "here"), here[1]),
        (topics.mail("bench", "main", "b000", "coordinator"), active_sets.coming(1, 7, bytes(16))),
        (topics.up("bench", "main", "b000", "ready"), ready),
        (mail, batch),
        (mail, batch),
        (mail, acknowledged),
        (mail, key),
        (topics.group("bench", "main", "roster"), b"r"),
        (topics.group("bench", "main", "roll"), b""),
        (topics.device("bench", "b000", "diag"), b"d"),
    ):
        bytes_of.count("sent", topic, payload, 10, 7)
    assert bytes_of.totals == {
        "setup sent": 20,
        "set 9 sent": 40,
        "ready of set 9 sent": 10,
        "batch 2 of set 9 sent": 20,
        "round 7 sent": 10,
        "other sent": 10,
    }


def test_a_peer_deals_on_demand_what_the_agent_would_have_dealt():
    group = Group(4, SLOTS)
    peers = make_peers(group)
    peer = peers[1]
    for each in peers[1:]:
        each.enter(topics.active("bench", "main", 0), group.active(9))
    member = peer.machine.member
    sharing = peer.machine._standing.sharing
    field = member.field
    whole = run(blinding.batch_steps(sharing.blinding_seed, 0, 3, cohorts.threshold(4), field))
    for number in (0, 5):
        element = slice(number * field.size, (number + 1) * field.size)
        assert peer.deal(0, 3, number)[element] == whole[element]
    (action,) = next(filter(None, sharing.steps(None, 2)))[:1]
    context = member.context("key-share", 0, "b001", "b002")
    payload = Envelope(action[2]).open(member.mail_key(2, True), context)
    assert messages.read_share(payload, sharing.share_bytes) == peer.deal(None, 3, 0)


def test_a_board_that_dies_is_told_by_its_last_word(tmp_path):
    command = [sys.executable, "-c", "import sys; sys.exit('out of order')"]
    board = BoardProcess(command, tmp_path, tmp_path / "errors")
    try:
        with pytest.raises(BoardLost, match="out of order"):
            board.receive(20)
    finally:
        board.stop()


def test_what_a_board_says_is_counted_as_it_is_on_the_wire(tmp_path):
    packet = packets.publish("some/topic", b"payload", 1, False, 1)
    command = [sys.executable, "-c", f"import sys; sys.stdout.buffer.write({packet!r}); sys.stdin.read()"]
    board = BoardProcess(command, tmp_path, tmp_path / "errors")
    try:
        assert board.receive(20) == ("some/topic", b"payload", len(packet))
        assert board.receive(0.01) is None
    finally:
        board.stop()
