"""DNS messages: the one question, and answers by hand, good and bad.
tests/interop/test_dns_oracle.py asks a library."""

from agent.wire import dns
from tests.support.expect import raises

ID = b"\x12\x34"
SERVICE = b"\x04_hum\x04_tcp\x05local\0"
STREET = b"\x06street" + SERVICE
HOST = b"\x06broker\x05local\0"


def be16(number):
    return number.to_bytes(2, "big")


def record(name, kind, contents, life=10, rrclass=1):
    return name + be16(kind) + be16(rrclass) + life.to_bytes(4, "big") + be16(len(contents)) + contents


def message(*records, identifier=ID, flags=0x8400, counts=None):
    counts = counts or (0, len(records), 0, 0)
    return identifier + be16(flags) + b"".join(be16(count) for count in counts) + b"".join(records)


def pointer(instance=STREET):
    return record(SERVICE, dns.PTR, instance)


def place(name=STREET, priority=0, port=8883, target=HOST, **options):
    return record(name, dns.SRV, be16(priority) + be16(0) + be16(port) + target, **options)


def text(*strings, name=STREET):
    return record(name, dns.TXT, b"".join(bytes([len(string)]) + string for string in strings))


def address(octets=(192, 168, 1, 5), name=HOST, **options):
    return record(name, dns.A, bytes(octets), **options)


STREET_RECORDS = (pointer(), place(), text(b"d=street"), address())
STREET_SERVICE = (0, 8883, ["192.168.1.5"], b"street", None)


def reason(octets):
    error = raises(dns.DnsError, dns.services, octets, ID)
    assert len(error.args) == 1
    return error.args[0]


def test_the_question_is_as_the_rfc_draws_it():
    assert dns.query(ID) == ID + bytes.fromhex("00000001000000000000") + SERVICE + bytes.fromhex("000c8001")


def test_a_service_is_read_whatever_the_order_and_the_sections_of_its_records():
    assert dns.services(message(*STREET_RECORDS), ID) == [STREET_SERVICE]
    question = SERVICE + be16(dns.PTR) + be16(0x8001)
    backwards = (question,) + tuple(reversed(STREET_RECORDS))
    assert dns.services(message(*backwards, counts=(1, 1, 1, 2)), ID) == [STREET_SERVICE]


def test_pointers_to_earlier_names_are_followed():
    # The service at 12, "local" at 12 + 10, the instance at 12 + 17 + 10.
    instance = b"\x06street\xc0\x0c"
    head = record(SERVICE, dns.PTR, instance)
    at = 12 + len(SERVICE) + 10
    second = record(be16(0xC000 | at), dns.SRV, bytes(4) + be16(8883) + b"\x06broker\xc0\x16")
    host = 12 + len(head) + 12 + 6
    third = record(be16(0xC000 | at), dns.TXT, b"\x08d=street")
    fourth = record(be16(0xC000 | host), dns.A, bytes((192, 168, 1, 5)))
    assert dns.services(message(head, second, third, fourth), ID) == [STREET_SERVICE]


def test_names_are_the_same_in_upper_and_lower_case_but_not_across_labels():
    shouted = (record(SERVICE.upper(), dns.PTR, STREET), place(name=STREET.upper()), STREET_RECORDS[2], address())
    assert dns.services(message(*shouted), ID) == [STREET_SERVICE]
    one_label = b"\x0dstreet.broker\x05local\0"
    two_labels = b"\x06street\x06broker\x05local\0"
    records = (pointer(), place(target=one_label), STREET_RECORDS[2], address(name=two_labels))
    assert dns.services(message(*records), ID) == []


def test_several_services_come_by_priority_then_name():
    records = []
    for label, priority, port in ((b"\x01c", 0, 3), (b"\x01a", 1, 1), (b"\x01b", 0, 2)):
        name = label + SERVICE
        records += [pointer(name), place(name, priority, port), text(b"d=street", name=name)]
    records.append(address())
    found = dns.services(message(*records), ID)
    assert [(priority, port) for priority, port, *_ in found] == [(0, 2), (0, 3), (1, 1)]


def test_all_addresses_of_a_host_are_kept_in_order():
    records = STREET_RECORDS + (address((10, 0, 0, 1)),)
    assert dns.services(message(*records), ID)[0][2] == ["192.168.1.5", "10.0.0.1"]


def test_a_service_with_a_part_missing_is_left_out():
    for missing in range(4):
        records = [one for number, one in enumerate(STREET_RECORDS) if number != missing]
        assert dns.services(message(*records), ID) == []
    assert dns.services(message(), ID) == []


def test_farewells_other_classes_and_other_types_are_passed_over():
    for other in (address(life=0), address(rrclass=3), record(HOST, 28, bytes(16)), record(HOST, 47, b"junk")):
        assert dns.services(message(*STREET_RECORDS[:3], other), ID) == []
        assert dns.services(message(*STREET_RECORDS, other), ID) == [STREET_SERVICE]
    flushing = (pointer(), place(rrclass=0x8001), STREET_RECORDS[2], address(rrclass=0x8001))
    assert dns.services(message(*flushing), ID) == [STREET_SERVICE]


def deployment(*strings):
    return dns.services(message(pointer(), place(), text(*strings), address()), ID)[0][3]


def test_the_first_d_of_the_text_counts():
    assert deployment(b"a=1", b"", b"D=one", b"d=two") == b"one"
    assert deployment(b"d=", b"d=two") == b""
    assert deployment(b"dd=one", b"d", b"x", b"=d=") is None
    assert deployment() is None


def test_the_first_l_of_the_text_are_the_labels():
    for strings, labels in (((b"d=street", b"L=north", b"l=x"), b"north"), ((b"l=",), b""), ((b"ll=x", b"l"), None)):
        assert dns.services(message(pointer(), place(), text(*strings), address()), ID)[0][4] == labels


def test_only_an_answer_to_this_question_is_read():
    assert reason(message(*STREET_RECORDS, flags=0)) == "not-an-answer"
    assert reason(message(*STREET_RECORDS, flags=0x8400 | 3)) == "not-an-answer"  # no such name
    assert reason(message(*STREET_RECORDS, flags=0x8400 | 4 << 11)) == "not-an-answer"  # a notification
    assert reason(message(*STREET_RECORDS, identifier=b"\x12\x35")) == "wrong-identifier"
    assert dns.services(message(*STREET_RECORDS, flags=0x8780), ID) == [STREET_SERVICE]  # bits to be ignored


def test_a_message_cut_anywhere_is_refused():
    whole = message(*STREET_RECORDS)
    for length in range(len(whole)):
        assert reason(whole[:length]) == "truncated"
    assert reason(whole + b"\0") == "trailing"


def test_size_and_counts_are_bounded():
    assert reason(message(*STREET_RECORDS) + bytes(1500)) == "too-large"
    assert reason(bytes(65536)) == "too-large"
    filling = record(HOST, 47, bytes(1500 - 12 - len(b"".join(STREET_RECORDS)) - len(HOST) - 10))
    full = message(*STREET_RECORDS, filling)
    assert len(full) == 1500 and dns.services(full, ID) == [STREET_SERVICE]
    assert reason(message(counts=(0, 0xFFFF, 0xFFFF, 0xFFFF))) == "too-many"
    assert reason(message(counts=(2, 0, 0, 0))) == "too-many"
    many = [record(b"\0", 47, b"")] * (dns.RECORDS_MOST + 1)
    assert reason(message(*many)) == "too-many"
    assert dns.services(message(*many[1:]), ID) == []


def test_pointers_that_lead_nowhere_round_or_forward_are_refused():
    for octets in (b"\xc0\x0c", b"\xc0\x0d", b"\xc0\x00", b"\xc0\x0b", b"\xff\xff", b"\xc0\x20", b"\x01a\xc0\x0c"):
        assert reason(message(record(octets, dns.A, bytes(4)))) == "pointer"
    first = record(b"\0", 47, b"\xc0\x17\xc0\x17")  # its data begin at 23: each points to the first
    assert reason(message(first, record(b"\xc0\x19", dns.A, bytes(4)))) == "pointer"


def chained(pointers):
    """A message whose last record has a name of so many pointers, each to the one before, the first
    to the empty name."""
    at = 12 + 1 + 10
    chain = b"\0" + b"".join([be16(0xC000 | (at if n == 0 else at + 1 + 2 * (n - 1))) for n in range(pointers)])
    return message(record(b"\0", 47, chain), record(be16(0xC000 | len(chain) - 2 + at), dns.A, bytes(4)))


def test_a_chain_of_pointers_is_bounded():
    assert dns.services(chained(dns.STEPS_MOST - 2), ID) == []
    for pointers in (dns.STEPS_MOST - 1, 600):
        assert reason(chained(pointers)) == "name-too-long"
    assert dns.services(message(record(b"\1x" * (dns.STEPS_MOST - 1) + b"\0", dns.A, bytes(4))), ID) == []
    assert reason(message(record(b"\1x" * dns.STEPS_MOST + b"\0", dns.A, bytes(4)))) == "name-too-long"


def test_labels_and_names_are_bounded():
    for length in (0x40, 0x7F, 0x80, 0xBF):
        assert reason(message(record(bytes([length]) + bytes(200), dns.A, bytes(4)))) == "label"
    longest = (b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"x" * 61 + b"\0"
    assert len(longest) == 255
    assert dns.services(message(record(longest, dns.A, bytes(4))), ID) == []
    longer = (b"\x3f" + b"x" * 63) * 3 + b"\x3e" + b"x" * 62 + b"\0"
    assert reason(message(record(longer, dns.A, bytes(4)))) == "name-too-long"


def test_contents_that_are_not_of_their_type_are_refused():
    for bad in (
        record(SERVICE, dns.PTR, STREET + b"\0"),
        record(SERVICE, dns.PTR, STREET[:-1]),  # it goes on in the next record
        record(STREET, dns.SRV, bytes(6)),
        record(STREET, dns.SRV, b""),
        place(port=0),
        place(target=HOST + b"\0"),
        record(STREET, dns.TXT, b"\x09d=street"),
        record(HOST, dns.A, bytes(3)),
        record(HOST, dns.A, bytes(16)),
    ):
        assert reason(message(bad, *STREET_RECORDS)) == "data"


def test_a_name_server_is_asked_and_its_addresses_are_read_even_those_that_are_not_to_be_kept():
    question = b"\x06broker\x04home\0" + be16(dns.A) + be16(dns.IN)
    assert (
        dns.lookup(ID, "broker.home")
        == dns.lookup(ID, "broker.home.")
        == ID + bytes.fromhex("01000001000000000000") + question
    )
    alias = record(b"\xc0\x0c", 5, HOST)
    answers = (question, alias, address(life=0), address((10, 0, 0, 1)), record(HOST, 28, bytes(16)))
    whole = message(*answers, flags=0x8180, counts=(1, 4, 0, 0))
    asked = dns.lookup(ID, "Broker.home")
    assert dns.addresses(whole, asked) == ["192.168.1.5", "10.0.0.1"]
    assert dns.addresses(message(flags=0x8180), asked) == []
    for octets, why in (
        (message(flags=0x8183), "not-an-answer"),
        (message(flags=0x8183, identifier=b"\0\0"), "wrong-identifier"),  # whatever it says
        (whole[:-1], "truncated"),
        (message(record(HOST, dns.A, bytes(3))), "data"),
    ):
        assert raises(dns.DnsError, dns.addresses, octets, asked).args == (why,)


def test_addresses_of_other_names_are_none_of_the_answer():
    asked = dns.lookup(ID, "broker.home")
    name, server = b"\x06broker\x04home\0", b"\x02ns\x04home\0"
    glue = address((192, 0, 2, 53), name=server)
    only_six = (record(name, 28, bytes(16)), record(b"\x04home\0", 2, server), glue)
    assert dns.addresses(message(*only_six, flags=0x8180, counts=(0, 1, 1, 1)), asked) == []
    assert dns.addresses(message(glue, flags=0x8180), asked) == []
    assert dns.addresses(message(glue, address(name=name), flags=0x8180), asked) == ["192.168.1.5"]
    # Aliases, in any order; one that leads nowhere, or back to itself, ends.
    chain = [record(HOST, 5, server), glue, record(name, 5, HOST)]
    assert dns.addresses(message(*chain, flags=0x8180), asked) == ["192.0.2.53"]
    assert dns.addresses(message(record(name, 5, HOST), record(HOST, 5, name), glue, flags=0x8180), asked) == []
    # What is no host's address is not tried.
    for octets in ((0, 0, 0, 0), (224, 0, 0, 1), (255, 255, 255, 255)):
        assert dns.addresses(message(address(octets, name=name), flags=0x8180), asked) == []


def test_what_is_no_name_is_not_asked_for():
    for name in ("", ".", "a..b", ".a", "x" * 64, ".".join(["x" * 50] * 5)):
        assert raises(dns.DnsError, dns.lookup, ID, name).args == ("label",)
    assert len(dns.lookup(ID, ".".join(["x" * 49] * 5))) == 12 + 5 * 50 + 1 + 4
