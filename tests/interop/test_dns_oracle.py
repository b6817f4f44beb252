"""DNS messages against python-zeroconf's encoder and decoder, and against random and mutated
bytes."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from zeroconf import DNSAddress, DNSIncoming, DNSOutgoing, DNSQuestion, DNSService, DNSText, ServiceInfo
from zeroconf.const import (
    _CLASS_IN,
    _CLASS_UNIQUE,
    _FLAGS_AA,
    _FLAGS_QR_QUERY,
    _FLAGS_QR_RESPONSE,
    _TYPE_PTR,
)

from agent.wire import dns

ID = b"\xbe\xef"
SERVICE = "_hum._tcp.local."
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=32)
ADDRESSES = st.lists(st.binary(min_size=4, max_size=4), min_size=1, max_size=4, unique=True)


@st.composite
def offers(draw: st.DrawFn) -> ServiceInfo:
    name = draw(NAMES)
    return ServiceInfo(
        SERVICE,
        f"{name}.{SERVICE}",
        port=draw(st.integers(1, 65535)),
        priority=draw(st.integers(0, 65535)),
        weight=draw(st.integers(0, 65535)),
        properties=draw(st.sampled_from([{}, {"v": "1"}, {"x": None}, {"l": "north"}])) | {"d": draw(NAMES)},
        server=f"{draw(NAMES)}-{name}.local.",
        addresses=draw(ADDRESSES),
    )


def encoded(infos: list[ServiceInfo], shuffle: Any = None) -> bytes:
    """The oracle's encoding, compressed, of the answer to the question."""
    out = DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA, multicast=False, id_=int.from_bytes(ID, "big"))
    out.add_question(DNSQuestion(SERVICE, _TYPE_PTR, _CLASS_IN | _CLASS_UNIQUE))
    records: list[Any] = []
    for info in infos:
        records += [info.dns_pointer(), info.dns_service(), info.dns_text(), *info.dns_addresses()]
    if shuffle is not None:
        shuffle.shuffle(records)
    for record in records:
        out.add_answer_at_time(record, 0)
    packets = out.packets()
    assert len(packets) == 1
    return bytes(packets[0])


def expected(infos: list[ServiceInfo]) -> list[tuple[int, int, set[str], bytes, bytes | None]]:
    ranked = sorted(infos, key=lambda info: (info.priority, len(info.name), info.name))  # the length byte comes first
    found = []
    for info in ranked:
        hosts = {socket.inet_ntoa(address) for address in info.addresses}
        text = info.properties[b"d"]
        assert text is not None
        found.append((info.priority, info.port or 0, hosts, text, info.properties.get(b"l")))
    return found


def test_the_oracle_reads_the_question() -> None:
    message = DNSIncoming(dns.query(ID))
    assert message.valid and message.is_query() and message.id == int.from_bytes(ID, "big")
    (question,) = message.questions
    assert (question.name, question.type, question.class_) == (SERVICE, _TYPE_PTR, _CLASS_IN)
    assert question.unicast
    out = DNSOutgoing(_FLAGS_QR_QUERY)  # with the number 0: only answers to one asker have another
    out.add_question(question)
    assert out.packets() == [dns.query(b"\0\0")]


@given(st.lists(offers(), max_size=4, unique_by=lambda info: info.name), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_what_the_oracle_writes_is_read(infos: list[ServiceInfo], shuffle: Any) -> None:
    found = dns.services(encoded(infos, shuffle), ID)
    assert [(priority, port, set(hosts), *texts) for priority, port, hosts, *texts in found] == expected(infos)


def read_or_refused(message: bytes) -> None:
    """Nothing but DnsError, and what is read without one is what the oracle's decoder finds too."""
    try:
        found = dns.services(message, ID)
    except dns.DnsError as error:
        assert len(error.args) == 1 and isinstance(error.args[0], str)
        return
    oracle = DNSIncoming(message)
    if not oracle.valid:  # it also refuses what stands in records that are not looked into here
        return
    texts = [record for record in oracle.answers() if record.type == dns.TXT]
    hosts = {record.address for record in oracle.answers() if record.type == dns.A}  # type: ignore[attr-defined]
    ports = {record.port for record in oracle.answers() if record.type == dns.SRV}  # type: ignore[attr-defined]
    for _, port, addresses, text, _ in found:
        assert 1 <= port <= 65535 and port in ports
        assert addresses and {socket.inet_aton(address) for address in addresses} <= hosts
        assert text is None or any(text in record.text for record in texts)  # type: ignore[attr-defined]


@given(st.binary(max_size=200))
@settings(max_examples=250, deadline=None)
def test_random_bytes_behind_a_good_header_are_read_or_refused(tail: bytes) -> None:
    read_or_refused(tail)
    for counts in (b"\0\0\0\1\0\0\0\0", b"\0\1\0\2\0\1\0\1"):
        read_or_refused(ID + b"\x84\0" + counts + tail)


STRUCTURE = [0, 1, 4, 10, 12, 16, 23, 33, 63, 64, 0x84, 0xC0, 0xC1, 0xFF]


@given(st.lists(st.sampled_from(STRUCTURE), max_size=120).map(bytes))
@example(b"\xc0\x0c" * 40)
@settings(max_examples=500, deadline=None)
def test_random_structures_are_read_or_refused(tail: bytes) -> None:
    read_or_refused(ID + b"\x84\0\0\0\0\3\0\0\0\0" + tail)


@given(st.lists(offers(), min_size=1, max_size=2, unique_by=lambda info: info.name), st.data())
@settings(max_examples=250, deadline=None)
def test_mutated_answers_are_read_or_refused(infos: list[ServiceInfo], data: st.DataObject) -> None:
    message = encoded(infos)
    at = data.draw(st.integers(4, len(message)))
    cut = data.draw(st.integers(0, 9))
    new = data.draw(st.binary(max_size=9) | st.binary(min_size=cut, max_size=cut))
    read_or_refused(message[:at] + new + message[at + cut :])


@pytest.mark.parametrize("part", range(4))
def test_the_oracles_answer_without_one_of_its_parts_offers_nothing(part: int) -> None:
    info = ServiceInfo(SERVICE, f"a.{SERVICE}", port=1, properties={"d": "a"}, server="b.local.", addresses=[bytes(4)])
    records = [info.dns_pointer(), info.dns_service(), info.dns_text(), *info.dns_addresses()]
    for left_out in (None, part):
        out = DNSOutgoing(_FLAGS_QR_RESPONSE, multicast=False, id_=int.from_bytes(ID, "big"))
        for number, record in enumerate(records):
            if number != left_out:
                out.add_answer_at_time(record, 0)
        assert len(dns.services(bytes(out.packets()[0]), ID)) == (left_out is None)


def of_oracle(answer: bytes) -> list[dict[str, Any]]:
    """What the oracle finds in an answer, as the vectors have it."""
    records = DNSIncoming(answer).answers()
    hosts = {one.name: socket.inet_ntoa(one.address) for one in records if isinstance(one, DNSAddress)}
    texts = {one.name: one.text for one in records if isinstance(one, DNSText)}
    found = []
    for place in sorted((one for one in records if isinstance(one, DNSService)), key=lambda one: one.priority):
        info = ServiceInfo(SERVICE, place.name, properties=texts[place.name])
        words = {key: info.properties.get(key) for key in (b"d", b"l")}
        deployment, labels = (None if word is None else word.decode() for word in words.values())
        found.append({"priority": place.priority, "port": place.port, "hosts": [hosts[place.server]]})
        found[-1] |= {"deployment": deployment, "labels": labels}
    return found


def test_the_vectors_are_read_alike() -> None:
    vectors = json.loads((Path(__file__).parent / "vectors/discovery.json").read_text())
    identifier = bytes.fromhex(vectors["identifier"])
    assert dns.query(identifier).hex() == vectors["question"]
    for case in vectors["answers"]:
        answer = bytes.fromhex(case["answer"])
        if "refused" in case:
            with pytest.raises(dns.DnsError, match=f"^{case['refused']}$"):
                dns.services(answer, identifier)
            continue
        found = [
            {"priority": priority, "port": port, "hosts": hosts}
            | {"deployment": deployment.decode() if deployment else None, "labels": labels.decode() if labels else None}
            for priority, port, hosts, deployment, labels in dns.services(answer, identifier)
        ]
        assert found == case["services"] == of_oracle(answer), case["name"]
    assert {case.get("refused") for case in vectors["answers"]} == {
        None,
        "truncated",
        "wrong-identifier",
        "not-an-answer",
    }
