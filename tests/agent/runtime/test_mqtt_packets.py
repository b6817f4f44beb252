"""MQTT packets against bytes worked out by hand from the OASIS MQTT 3.1.1 standard."""

from agent.runtime.net import mqtt_decoder
from agent.runtime.net import mqtt_packets as packets
from tests.support.expect import raises

SUBACK = b"\x90\x05\x00\x0a\x00\x01\x80"
PUBLISH_0 = b"\x31\x07\x00\x03a/bhi"
PUBLISH_1 = b"\x32\x09\x00\x03a/b\x12\x34hi"
VALID = [b"\x20\x02\x01\x00", b"\x20\x02\x00\x05", SUBACK, PUBLISH_0, PUBLISH_1, b"\x40\x02\xff\xff", b"\xd0\x00"]


def decode(octets, limit=8192, letters=None):
    """Feed `octets` to the decoder: the packet, or the number of bytes it still wants when they run
    out."""
    parser = mqtt_decoder.incoming(limit, letters)
    wanted = next(parser)
    place = 0
    while place + wanted <= len(octets):
        place += wanted
        try:
            wanted = parser.send(octets[place - wanted : place])
        except StopIteration as done:
            assert place == len(octets), "bytes left over"
            return done.value
    return wanted


def refusal(octets, limit=8192):
    return raises(packets.PacketError, decode, octets, limit).reason


def test_connect_is_built_field_by_field():
    expected = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c"
    assert packets.connect("c", 60, True) == expected
    # flags: user 80, password 40, will retain 20, will QoS 1 08, will 04, clean session 0
    expected = b"\x10\x22\x00\x04MQTT\x04\xec\x01\x00\x00\x02id\x00\x03w/t\x00\x03off\x00\x04user\x00\x02pw"
    will = ("w/t", b"off", 1, True)
    assert packets.connect("id", 256, False, user="user", password="pw", will=will) == expected


def test_connect_refuses_what_the_standard_forbids():
    raises(ValueError, packets.connect, "", 60, False)
    raises(ValueError, packets.connect, "c", 0, True)
    raises(ValueError, packets.connect, "c", 65536, True)
    raises(ValueError, lambda: packets.connect("c", 60, True, password="secret"))
    raises(ValueError, lambda: packets.connect("c", 60, True, will=("a/#", b"", 0, False)))
    raises(ValueError, lambda: packets.connect("c", 60, True, will=("a", b"", 2, False)))
    raises(ValueError, packets.connect, "c" * 65536, 60, True)


def test_publish_is_built_field_by_field():
    assert packets.publish("a/b", b"hi", 0, True) == PUBLISH_0
    assert packets.publish("a/b", b"hi", 1, False, 0x1234) == PUBLISH_1
    assert packets.publish("a", bytearray(b"x")) == packets.publish("a", memoryview(b"x")) == b"\x30\x04\x00\x01ax"
    assert packets.publish("\u00e9", "\u20ac") == b"\x30\x07\x00\x02\xc3\xa9\xe2\x82\xac"


def test_remaining_length_takes_the_fewest_bytes():
    assert packets.publish("a", bytes(124))[:2] == b"\x30\x7f"
    assert packets.publish("a", bytes(125))[:3] == b"\x30\x80\x01"
    assert packets.publish("a", bytes(16380))[:3] == b"\x30\xff\x7f"
    assert packets.publish("a", bytes(16381))[:4] == b"\x30\x80\x80\x01"


def test_publish_refuses_bad_topics_levels_and_identifiers():
    for topic in ("", "a/#", "+", "a\x00", "a" * 257, "\u00e9" * 129):
        raises(ValueError, packets.publish, topic, b"")
    raises(ValueError, packets.publish, "a", b"", 2)
    raises(ValueError, packets.publish, "a", b"", 1, False, 0)
    raises(ValueError, packets.publish, "a", b"", 1, False, 65536)


def test_the_small_packets():
    assert packets.puback(0x1234) == b"\x40\x02\x12\x34"
    assert packets.pingreq() == b"\xc0\x00"
    assert packets.disconnect() == b"\xe0\x00"
    assert packets.subscribe(10, [("a/+", 1), ("b", 0)]) == b"\x82\x0c\x00\x0a\x00\x03a/+\x01\x00\x01b\x00"
    raises(ValueError, packets.subscribe, 1, [])
    raises(ValueError, packets.subscribe, 1, [("", 0)])
    raises(ValueError, packets.subscribe, 1, [("a", 2)])
    raises(ValueError, packets.subscribe, 0, [("a", 1)])


def test_what_a_server_sends_is_decoded():
    assert decode(b"\x20\x02\x01\x00") == (packets.CONNACK, True, 0)
    assert decode(b"\x20\x02\x00\x05") == (packets.CONNACK, False, 5)
    assert decode(SUBACK) == (packets.SUBACK, 10, b"\x00\x01\x80")
    assert decode(b"\x40\x02\xff\xff") == (packets.PUBACK, 65535)
    assert decode(b"\xd0\x00") == (packets.PINGRESP,)
    assert decode(PUBLISH_0) == (packets.PUBLISH, "a/b", b"hi", 0, True, 0)
    assert decode(PUBLISH_1) == (packets.PUBLISH, "a/b", b"hi", 1, False, 0x1234)
    assert decode(b"\x3a" + PUBLISH_1[1:]) == (packets.PUBLISH, "a/b", b"hi", 1, False, 0x1234)  # DUP
    assert decode(b"\x30\x03\x00\x01a") == (packets.PUBLISH, "a", b"", 0, False, 0)


def test_publish_comes_back_at_every_length_of_the_length():
    for size in (0, 124, 125, 16380, 16381):
        payload = bytes(size)
        assert decode(packets.publish("a", payload), 20000) == (packets.PUBLISH, "a", payload, 0, False, 0)


def test_a_packet_cut_short_leaves_the_decoder_waiting():
    for valid in VALID:
        for size in range(len(valid)):
            wanted = decode(valid[:size])
            assert isinstance(wanted, int) and wanted > 0


def test_a_length_cut_short_is_refused_or_gives_a_shorter_payload():
    for valid in VALID:
        for size in range(valid[1]):
            cut = bytes([valid[0], size]) + valid[2 : 2 + size]
            try:
                packet = decode(cut)
            except packets.PacketError as error:
                assert error.reason == "malformed"
            else:
                if packet[0] == packets.PUBLISH:
                    assert packet[1] == "a/b" and b"hi".startswith(packet[2]) and len(packet[2]) < 2
                else:
                    assert packet[0] == packets.SUBACK and 1 <= len(packet[2]) < 3


def test_every_first_byte_is_accepted_or_malformed_as_the_standard_has_it():
    good = [0x20, 0x40, 0x90, 0xB0, 0xD0, 0x30, 0x31, 0x32, 0x33, 0x3A, 0x3B]
    for first in range(256):
        parser = mqtt_decoder.incoming(8192)
        next(parser)
        if first in good:
            size = {0x20: 2, 0x40: 2, 0x90: 3, 0xB0: 2, 0xD0: 0}.get(first, 5)
            if size:
                assert parser.send(bytes([first, size])) > 0
            else:
                raises(StopIteration, parser.send, bytes([first, size]))
        else:
            assert raises(packets.PacketError, parser.send, bytes([first, 2])).reason == "malformed"


def test_a_fifth_length_byte_is_malformed():
    assert refusal(b"\x30\x80\x80\x80\x80") == "malformed"
    assert refusal(b"\x30\xff\xff\xff\xff\x01") == "malformed"


def skipped(octets, limit=8192, letters=None):
    """What is skipped, piece by piece: no wish of the decoder is larger than a topic."""
    parser = mqtt_decoder.incoming(limit, letters)
    wanted, place = next(parser), 0
    while True:
        assert 1 <= wanted <= packets.TOPIC_LIMIT
        place += wanted
        assert place <= len(octets)
        try:
            wanted = parser.send(octets[place - wanted : place])
        except StopIteration as done:
            assert place == len(octets) and done.value[0] == packets.SKIPPED
            return done.value[1:]


def test_an_oversized_packet_is_received_to_its_end_and_never_kept():
    for size in (8190, 9000, 70000):
        assert skipped(packets.publish("a", bytes(size))) == ("oversized", 0)
        assert skipped(packets.publish("a", bytes(size), 1, True, 7)) == ("oversized", 7)
    assert skipped(b"\x90\x81\x40" + bytes(8193)) == ("oversized", 0)
    assert decode(b"\x30\xff\xff\xff\x7f") == 2
    assert decode(b"\x30\x81\x40") == 2


def test_a_letter_is_no_larger_than_letters_are():
    letters = ("mail/me/", 100)
    assert decode(packets.publish("mail/me/b", bytes(100)), letters=letters)[0] == packets.PUBLISH
    assert skipped(packets.publish("mail/me/b", bytes(101), 1, True, 9), letters=letters) == ("oversized", 9)
    assert decode(packets.publish("mail/you/b", bytes(101)), letters=letters)[0] == packets.PUBLISH


def test_who_has_no_room_for_a_letter_skips_it_and_for_the_rest_it_is_an_error():
    for topic, letters in (("mail/me/b", ("mail/me/", 100)), ("roster", ("mail/me/", 100)), ("roster", None)):
        packet = packets.publish(topic, bytes(90), 1, False, 5)
        parser = mqtt_decoder.incoming(8192, letters)
        wanted, place = next(parser), 0
        while wanted != 90:
            place += wanted
            wanted = parser.send(packet[place - wanted : place])
        if topic == "roster":
            raises(MemoryError, parser.send, b"")
        else:
            done = raises(StopIteration, parser.send, b"")
            assert done.value == (packets.SKIPPED, "no-room", 5)


def test_large_lengths_of_other_packets_are_malformed_before_their_body():
    assert decode(b"\x30\x80\x40") == 2
    for kind in (0x20, 0x40, 0xB0, 0xD0):
        assert refusal(bytes([kind]) + b"\x81\x40") == "malformed"


def test_wrong_lengths_are_malformed():
    for head in (
        b"\x20\x00",
        b"\x20\x01",
        b"\x20\x03",
        b"\x40\x01",
        b"\x40\x03",
        b"\x90\x02",
        b"\xd0\x01",
        b"\x30\x01",
    ):
        assert refusal(head) == "malformed"
    assert refusal(b"\x32\x03") == "malformed"
    assert refusal(b"\x30\x05\x00\x04") == "malformed"
    assert refusal(b"\x32\x06\x00\x03") == "malformed"


def test_bad_fields_are_malformed():
    assert refusal(b"\x20\x02\x02\x00") == "malformed"  # reserved acknowledge flags
    assert refusal(b"\x20\x02\x00\x06") == "malformed"
    assert refusal(b"\x20\x02\x01\x05") == "malformed"  # [MQTT-3.2.2-4]
    assert refusal(b"\x40\x02\x00\x00") == "malformed"
    assert refusal(b"\x90\x03\x00\x00\x01") == "malformed"
    assert refusal(b"\x90\x03\x00\x01\x03") == "malformed"
    assert refusal(b"\x32\x05\x00\x01a\x00\x00") == "malformed"


def publish_to(topic):
    return b"\x30" + bytes([len(topic) + 2, 0, len(topic)]) + topic


def test_topics_that_are_no_topic_names_are_skipped():
    bad = [b"", b"a\x00b", b"a/+", b"#", b"\xff", b"\xc3", b"\x80", b"\xc0\x80", b"\xc1\xa1", b"\xe0\x80\xaf"]
    bad += [
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xf0\x80\x80\xaf",
        b"\xe2\x82",
    ]
    for topic in bad:
        assert decode(publish_to(topic)) == (packets.SKIPPED, "bad-topic", 0), topic
        at_1 = b"\x32" + bytes([len(topic) + 7, 0, len(topic)]) + topic + b"\x01\x02abc"
        assert decode(at_1) == (packets.SKIPPED, "bad-topic", 0x102), topic


def test_topics_of_every_utf8_length_are_taken():
    for topic in ("a", "\u0080", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff", "a/\u00e9/\u20ac"):
        assert decode(publish_to(topic.encode()))[1] == topic


def test_a_topic_beyond_its_bound_is_oversized():
    assert decode(packets.publish("a" * 256, b""))[1] == "a" * 256
    assert skipped(b"\x30\x83\x02\x01\x01" + b"a" * 257) == ("oversized", 0)
    assert skipped(b"\x32\x88\x02\x01\x01" + b"a" * 257 + b"\x00\x09abc") == ("oversized", 9)
