"""Mutants at parsers: whatever they are given they return something, or raise what they
declare."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from agent.meters import dsmr, dsmr_frames
from agent.meters.sml import frames as sml_frames
from agent.meters.sml import messages as sml
from agent.meters.uart.telegram import TelegramError
from agent.protocols.private_sum.roster_part import SumPart, read_part
from agent.wire import active_sets, answers, cbor, coordination, dns, messages, queries, release, rosters, topics
from agent.wire.envelope import Context, Envelope, EnvelopeError, seal
from broker.wire import past, requests, views
from host_sim.fuzz.mutations import Mutator
from host_sim.fuzz.place import Violation
from host_sim.meters import made

Parser = Callable[[bytes], Any]
TAG = bytes(range(16))
POINT = b"\x04" + bytes(64)
NAMES = [("b000", POINT), ("b001", POINT)]
TELEGRAM = b"/TST5 fuzz\r\n\r\n1-0:1.8.1(000310.125*kWh)\r\n1-0:1.8.2(000001.000*kWh)\r\n1-0:1.7.0(00.412*kW)\r\n!\r\n"
SML = made.sml(made.usual())
REFUSED = (messages.MessageError,)


def _canonical(data: bytes) -> Any:
    """What decodes is the one encoding of what it is."""
    found = cbor.decode(data)
    if cbor.encode(found) != data:
        raise Violation(f"{data.hex()} decodes, and is not the encoding of {found!r}")
    return found


def _stream(telegrams: dsmr_frames.Telegrams | sml_frames.Telegrams, data: bytes) -> list[bytes]:
    """Cut telegrams out of a stream."""
    found = []
    telegram = telegrams.feed(data)
    while telegram:
        found.append(telegram)
        telegram = telegrams.feed(b"")
    return found


def _of_gateway() -> dict[str, tuple[Parser, tuple[type[Exception], ...], bytes]]:
    """Return those of what coordinator and gateway say to each other, as parsers() does."""
    order = views.Order(1_700_000_000_000, 3)
    standing = [views.Standing("absent", True, "no-mask", 7, 1_700_000_000), views.Standing("ready", None)]
    said = {"phase": "ready", "trouble": "checksum", "masks": 7, "rssi_dbm": -70, "link_losses": 2}
    rounds = [views.Progress(7, "incomplete", 5, 6, 7, 1, 1, 0, 2, "too-few-answers", 2)]
    ask = requests.Ask(9, 1_700_000_600, "load", "histogram", [0, 100, 8], [0, 900], 1000, 500_000, 0, 3)
    told = requests.Told(9, 2, 1_700_000_001, "again", "no-result", 1, 1, 4, 500_000, 2, 1_000_000)
    return {
        "told of members": (views.read_members, REFUSED, views.members(order, 1_700_000_000, standing)),
        "told of boards": (views.read_reports, REFUSED, views.reports(order, 5, [views.Report(4, said)])),
        "told of rounds": (views.read_progress, REFUSED, views.progress(order, 5, rounds)),
        "asked": (requests.read_ask, REFUSED, ask.encode()),
        "asked for a sum": (requests.read_ask, REFUSED, requests.AskRound(9, 1_700_000_600, 2).encode()),
        "told of a request": (requests.read_told, REFUSED, told.encode()),
        "recalled": (past.read_recall, REFUSED, past.Recall(1, 7).encode()),
        "told of a past round": (past.read_past, REFUSED, past.Past(5, 9, 3, bytes(99)).encode()),
    }


def parsers() -> dict[str, tuple[Parser, tuple[type[Exception], ...], bytes]]:
    """Return by name: a parser, what it may raise, and something that it takes."""
    context = Context("fuzz", "answer", "main", 1, 2, "b000", "coordinator", 7)
    sealed = seal(bytes(16), bytes(13), context, b"\xa1\x01\x02")
    digest, sets = bytes(32), bytes(64)
    roster = rosters.Roster("private-sum", "hum-2048", [("load", 0, 9)], POINT, NAMES, SumPart().fields()).encode()
    health = (60, 9, 7, 3, -70, 9000, 8192, 4, 5000, 2, 1, {"link-lost": 1}, {"meter": {"crc": 1}}, "checksum")
    report = messages.diagnostics("ready", 1, 2, 3, 4, {"late": 5}, health)
    opening = coordination.opening(1, 2, sets, [TAG, TAG], 1, [bytes(8), bytes(8)], 1_700_000_000)
    query = queries.Query(1, 2, digest, "load", "sum", [], None, 0, 1000, 1_700_000_000, 0, 0, bytes(16))
    found: dict[str, tuple[Parser, tuple[type[Exception], ...], bytes]] = {
        "cbor": (_canonical, (cbor.CborError,), cbor.encode([1, {"x": b"y", -5: [True, None]}, cbor.Tag(16, [0])])),
        "envelope": (Envelope, (EnvelopeError,), sealed),
        "opening": (messages.read_opening, REFUSED, opening),
        "roll": (messages.read_roll, REFUSED, coordination.roll(sets, 3, [TAG, TAG])),
        "share": (lambda data: messages.read_share(data, 40), REFUSED, messages.share(bytes(40))),
        "receipt": (messages.read_receipt, REFUSED, coordination.receipt(digest)),
        "ready": (coordination.read_ready, REFUSED, messages.ready(3, 5)),
        "contribution": (
            lambda data: coordination.read_contribution(data, 64), REFUSED, messages.contribution(bytes(64), 5, 3, 3),
        ),
        "answer": (lambda data: coordination.read_answer(data, 16, 64), REFUSED, messages.answer(bytes(16), None)),
        "result": (coordination.read_result, REFUSED, coordination.result(digest, 0, ["b000"], b"x", sets)),
        "sums": (coordination.read_sums, REFUSED, coordination.sums([1, -2, 1 << 40])),
        "diagnostics": (coordination.read_diagnostics, REFUSED, report),
        "presence": (coordination.read_presence, REFUSED, messages.presence(True)),
        "roster": (lambda data: read_part(rosters.read_roster(data).part), REFUSED, roster),
        "active set": (active_sets.read_active, REFUSED, active_sets.active(digest, 0, 3)),
        "here": (active_sets.read_here, REFUSED, active_sets.here(7)),
        "coming": (active_sets.read_coming, REFUSED, active_sets.coming(1, 2, TAG)),
        "query": (queries.read_query, REFUSED, answers.query(query.encode(), [TAG, TAG])),
        "aggregate": (lambda data: answers.read_aggregate(data, 9), REFUSED, queries.aggregate(3, bytes(9), digest)),
        "outcome": (answers.read_outcome, REFUSED, answers.outcome(digest, 0, b"x")),
        "notice": (release.read_notice, REFUSED, release.notice(7, sealed)),
        "manifest": (release.read, (EnvelopeError, *REFUSED), release.encode(7, [("agent/x.mpy", 5, digest)])),
        "topic": (lambda data: topics.split(data.decode("latin-1")), (), b"hum/v1/fuzz/g/main/up/b000/here"),
        "telegram": (dsmr.parse_telegram, (TelegramError,), TELEGRAM),
        "telegrams": (lambda data: _stream(dsmr_frames.Telegrams(), data), (), b"\x00/x" + TELEGRAM * 2),
        "sml": (sml.parse_telegram, (TelegramError,), SML),
        "sml-telegrams": (lambda data: _stream(sml_frames.Telegrams(), data), (), b"\x00\x1b\x1b" + SML * 2),
        "dns services": (lambda data: dns.services(data, b"\x00\x01"), (dns.DnsError,), dns.query(b"\x00\x01")),
        "dns addresses": (lambda data: dns.addresses(data, b"\x00\x01"), (dns.DnsError,), dns.lookup(b"\x00\x01", "a.b")),
    }  # fmt: skip
    return found | _of_gateway()


def play(mutants: int, seed: int, progress: Callable[[int], None] = lambda done: None) -> dict[str, Any]:
    """Give so many mutants to parsers, and return the figures. Raises Violation."""
    mutator = Mutator(random.Random(seed))
    every = parsers()
    for name, (parser, _, good) in every.items():
        if not name.startswith("dns"):  # of which a board makes questions only
            parser(good)
        mutator.saw(f"hum/v1/fuzz/g/main/{name}", good)
    raised: Counter[str] = Counter()
    taken = 0
    for number in range(mutants):
        name = list(every)[number % len(every)]
        parser, declared, good = every[name]
        mutant = mutator.octets(good)
        try:
            parser(mutant)
            taken += 1
        except declared as error:
            raised[str(error.args[0])] += 1
        except Exception as error:
            raise Violation(f"{name} raised {error!r} for {mutant[:300].hex()} ({len(mutant)} bytes)") from error
        if number % 10_000 == 0:
            progress(number)
    return {
        "mutants": mutants,
        "parsers": len(every),
        "counted": mutants - taken,
        "refused": dict(sorted(raised.items())),
    }
