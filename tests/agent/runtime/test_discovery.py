"""Looking for a broker, from those who answer well, badly or not at all: on the loopback, each test
with a port of its own."""

import asyncio
import os
import select
import socket

from agent.runtime.net import discovery

HERE = "127.0.0.1"
LONG_S = 60  # a test that finds something is over much sooner
SHORT_S = 0.3


def be16(number):
    return number.to_bytes(2, "big")


def answer(identifier, deployment=b"street", host=HERE, port=8883, priority=0):
    """What a good responder sends: the question repeated, the four records, names compressed."""
    octets = bytes([int(part) for part in host.split(".")])
    question = b"\x04_hum\x04_tcp\x05local\0\0\x0c\x80\x01"
    fields = b"\0\1\0\0\0\x0a"
    instance = b"\xc0\x2d"  # 12 of the header, 21 of the question, 12 up to the first record's data
    text = bytes([2 + len(deployment)]) + b"d=" + deployment
    place = be16(priority) + be16(0) + be16(port) + b"\1h\xc0\x16"
    records = (
        (b"\xc0\x0c", b"\0\x0c", b"\1x\xc0\x0c"),
        (instance, b"\0\x21", place),
        (instance, b"\0\x10", text),
        (be16(0xC000 | 45 + 4 + 12 + 6), b"\0\1", octets),
    )
    message = identifier + b"\x84\0\0\1\0\4\0\0\0\0" + question
    for name, kind, contents in records:
        message += name + kind + fields + be16(len(contents)) + contents
    return message


def udp():
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connection.setblocking(False)
    return connection


def bound():
    """(socket, its port); MicroPython does not tell which port it chose, so this one is tried
    for."""
    connection = udp()
    while True:
        port = 20000 + int.from_bytes(os.urandom(2), "big") % 40000
        try:
            connection.bind(socket.getaddrinfo(HERE, port)[0][-1])
            return connection, port
        except OSError:
            continue


async def asked(respond, timeout_s, port=None):
    """What `ask` returns while `respond(connection, question, who asked, how many questions there
    were)` answers."""

    async def look(own):
        connection = udp()
        try:
            return await discovery.ask(connection, (HERE, port or own), "street", timeout_s)
        finally:
            connection.close()

    return await during(respond, look)


async def during(respond, look):
    """What `look(port)` returns while `respond` answers there."""
    responder, own = bound()
    over = []
    poller = select.poll()
    poller.register(responder, select.POLLIN)

    async def serve():
        count = 0
        while not over:
            if poller.poll(0):
                octets, sender = responder.recvfrom(100)
                count += 1
                respond(responder, octets, sender, count)
            await asyncio.sleep(0.005)

    task = asyncio.create_task(serve())
    try:
        return await look(own)
    finally:
        over.append(True)
        await task
        responder.close()


def replies(*messages):
    """A respond() that sends all of them; a message that is a function gets the identifier of the
    question."""

    def respond(connection, octets, sender, count):
        for message in messages:
            connection.sendto(message if isinstance(message, bytes) else message(octets[:2]), sender)

    return respond


def hostile(identifier):
    """What is no answer of use."""
    good = answer(identifier)
    other = bytes([identifier[0] ^ 1, identifier[1]])
    return (
        b"",
        b"x",
        bytes(65000),
        good + bytes(1500),
        good[:-1],
        answer(other),
        answer(identifier, deployment=b"another"),
        answer(identifier, deployment=b"Street"),
        answer(identifier, deployment=b""),
        answer(identifier, port=0),
        answer(identifier, host="0.0.0.0"),
        answer(identifier, host="224.0.0.251"),
        answer(identifier, host="255.255.255.255"),
        identifier + b"\x84\0\0\0\0\1\0\0\0\0\xc0\x0c\0\1\0\1\0\0\0\x0a\0\0",
        identifier + os.urandom(300),
    )


def test_an_answer_says_where_the_broker_is():
    assert asyncio.run(asked(replies(answer), LONG_S)) == [(HERE, 8883)]


def test_what_is_of_no_use_is_passed_over_and_the_good_answer_after_it_is_found():
    def respond(connection, octets, sender, count):
        for message in hostile(octets[:2]):
            connection.sendto(message, sender)
        connection.sendto(answer(octets[:2], port=1), sender)

    assert asyncio.run(asked(respond, LONG_S)) == [(HERE, 1)]  # there would be room for another


def test_an_answer_from_another_port_than_was_asked_does_not_count():
    stranger, _ = bound()

    def respond(connection, octets, sender, count):
        stranger.sendto(answer(octets[:2]), sender)
        connection.sendto(answer(octets[:2], port=1), sender)

    assert asyncio.run(asked(respond, LONG_S)) == [(HERE, 1)]
    stranger.close()


def test_the_question_is_repeated():
    def respond(connection, octets, sender, count):
        if count == 2:
            connection.sendto(answer(octets[:2]), sender)

    assert asyncio.run(asked(respond, LONG_S)) == [(HERE, 8883)]


def test_nobody_there_is_an_empty_list():
    connection, port = bound()
    connection.close()
    assert asyncio.run(asked(replies(), SHORT_S, port)) == []


def test_no_network_is_an_empty_list():
    async def main():
        connection = udp()
        try:
            return await discovery.ask(connection, ("255.255.255.255", 9), "street", SHORT_S)  # sending is refused
        finally:
            connection.close()

    assert asyncio.run(main()) == []


def test_find_ends_without_an_answer():
    silent, port = bound()
    group = discovery.GROUP
    discovery.GROUP = (HERE, port)
    try:
        assert asyncio.run(discovery.find("street", SHORT_S)) == []
    finally:
        discovery.GROUP = group
        silent.close()


def test_a_flood_neither_holds_it_up_nor_keeps_others_from_their_work():
    askers = []
    over = []

    def respond(connection, octets, sender, count):
        askers.append((connection, octets[:2], sender))

    async def flood():
        while not over:
            for connection, identifier, sender in askers:
                for _ in range(10):
                    try:
                        connection.sendto(answer(identifier, deployment=b"another"), sender)
                        connection.sendto(bytes(1400), sender)
                    except OSError:
                        break  # no room in the buffers
            await asyncio.sleep(0)

    async def other_work():
        turns = 0
        while not over:
            turns += 1
            await asyncio.sleep(0)
        return turns

    async def main():
        tasks = [asyncio.create_task(flood()), asyncio.create_task(other_work())]
        found = await asked(respond, 1)
        over.append(True)
        await tasks[0]
        return found, await tasks[1]

    found, turns = asyncio.run(main())
    assert askers and found == [] and turns > 10


def test_find_asks_the_group():
    group = discovery.GROUP

    async def look(port):
        discovery.GROUP = (HERE, port)
        return await discovery.find("street")

    try:
        assert asyncio.run(during(replies(answer), look)) == [(HERE, 8883)]
    finally:
        discovery.GROUP = group


def test_several_answers_are_ranked_and_at_most_four():
    def from_one(identifier, number):
        return answer(identifier, port=1000 + number, priority=2 - number)

    respond = replies(*[lambda identifier, n=n: from_one(identifier, n) for n in range(3)])
    assert asyncio.run(asked(respond, LONG_S)) == [(HERE, 1002), (HERE, 1001)]  # two of one sender
    senders = {"10.0.0.%d" % n: [(0, "10.0.0.%d" % n, 1), (0, "10.1.0.%d" % n, 1)] for n in (3, 1, 2)}
    ranked = [("10.0.0.1", 1), ("10.0.0.2", 1), ("10.0.0.3", 1), ("10.1.0.1", 1)]
    assert discovery._ranked(senders) == ranked
    assert discovery._ranked({}) == []
    same = {"10.0.0.1": [(1, "10.0.0.9", 1)], "10.0.0.2": [(0, "10.0.0.9", 1), (0, "10.0.0.8", 1)]}
    assert discovery._ranked(same) == [("10.0.0.9", 1), ("10.0.0.8", 1)]


def test_a_senders_own_address_goes_first_and_the_loopback_only_counts_from_there():
    identifier = b"12"
    for sender, host, usable in (
        ("192.168.1.5", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("192.168.1.5", "10.0.0.1", True),
    ):
        offers = discovery._offers(answer(identifier, host=host), identifier, b"street", sender)
        assert offers == ([(0, host, 8883)] if usable else [])
    offers = [(0, "10.0.0.1", 1), (0, "192.168.1.5", 1), (0, "10.0.0.1", 1), (1, "10.0.0.2", 1)]
    assert discovery._best(offers, "192.168.1.5") == [(0, "192.168.1.5", 1), (0, "10.0.0.1", 1)]


def told(*labels):
    """An answer() whose text has these labels, too."""

    def message(identifier, **other):
        good = answer(identifier, **other)
        text = b",".join([label.encode() for label in labels])
        string = bytes([2 + len(text)]) + b"l=" + text
        at = good.index(b"\x08d=street")
        length = be16(9 + len(string))
        return good[: at - 2] + length + good[at : at + 9] + string + good[at + 9 :]

    return message


def looked(labels, *messages):
    """(what is found with all of `labels`, the reasons why others were refused)."""
    reasons = []

    async def look(port):
        connection = udp()
        try:
            return await discovery.ask(connection, (HERE, port), "street", LONG_S, labels, reasons.append)
        finally:
            connection.close()

    return asyncio.run(during(replies(*messages), look)), sorted(set(reasons))


def test_a_board_with_labels_takes_who_has_all_of_them():
    def last(identifier):
        return told("north", "feeder=7", "x")(identifier, port=7)

    for other in (answer, told(), told("north"), told("feeder=7"), told("north", "feeder=77"), told("north,feeder")):
        found, reasons = looked(["feeder=7", "north"], other, last)
        assert found == [(HERE, 7)] and reasons == ["announced-labels"]
    assert looked([], told("north")) == ([(HERE, 8883)], [])


def test_what_is_refused_is_refused_by_name():
    for message, reason in (
        (lambda identifier: identifier + b"\x84\0\0\1", "announced-malformed"),
        (lambda identifier: answer(identifier)[:-1], "announced-malformed"),
        (lambda identifier: answer(identifier, deployment=b"another"), "announced-other"),
        (lambda identifier: answer(identifier, host="224.0.0.251"), "announced-address"),
    ):
        assert looked([], message, answer) == ([(HERE, 8883)], [reason])
