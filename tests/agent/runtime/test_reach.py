"""Where the broker is, before a link is tried: real name servers on loopback, and a Wi-Fi of the
tests' own."""

import asyncio
import os
import socket

from agent.runtime.flash.store import Store
from agent.runtime.net import discovery, reach
from agent.runtime.net import names as resolve
from agent.runtime.net.gateways import Gateways
from agent.runtime.net.mqtt import Client
from agent.runtime.net.reach import NoAddress, Reach, is_address
from agent.runtime.system.clock import Clock
from agent.wire import dns
from tests.support.expect import raises
from tests.support.files_at_hand import Folder

HOST = "broker.example"


class Wifi:
    """Joined after `looks` looks."""

    def __init__(self, looks=0, server="127.0.0.1"):
        self.looks = looks
        self.server = server

    def joined(self):
        self.looks -= 1
        return self.looks < 0

    def name_server(self):
        return self.server


def reply(question, addresses, flags=b"\x81\x80"):
    """A name server's answer to `question`, through a compressed name."""
    answer = bytes(question[:2]) + flags + b"\0\1\0" + bytes([len(addresses)]) + b"\0\0\0\0" + bytes(question[12:])
    for address in addresses:
        answer += b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes(int(part) for part in address.split("."))
    return answer


class Server:
    """A name server on loopback: answer(question) returns the datagrams that it sends back; `asked`
    are the questions."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []
        self.port = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        while not self.port:
            port = 20000 + int.from_bytes(os.urandom(2), "little") % 12000
            try:
                self.socket.bind(socket.getaddrinfo("127.0.0.1", port)[0][-1])
                self.port = port
            except OSError:
                continue

    async def serve(self):
        while True:
            try:
                question, sender = self.socket.recvfrom(512)
            except OSError:
                await asyncio.sleep(0.005)
                continue
            self.asked.append(question)
            for octets in self.answer(question):
                self.socket.sendto(octets, sender)


def ask(answer, name=HOST):
    """What resolve.find finds with a Server that answers so, and the number of questions that it
    took."""

    async def main():
        server = Server(answer)
        serving = asyncio.create_task(server.serve())
        try:
            return await resolve.find("127.0.0.1", name, server.port), len(server.asked)
        finally:
            serving.cancel()
            server.socket.close()

    saved, resolve.WAIT_MS = resolve.WAIT_MS, 300
    try:
        return asyncio.run(main())
    finally:
        resolve.WAIT_MS = saved


def test_a_name_server_is_asked_for_an_address():
    asked = []

    def answer(question):
        asked.append(question)
        return [reply(question, ["192.0.2.9"])]

    assert ask(answer) == (["192.0.2.9"], 1)
    assert asked[0][2:] == b"\1\0\0\1\0\0\0\0\0\0\x06broker\x07example\0\0\1\0\1"


def test_four_addresses_are_enough():
    many = ["192.0.2.%d" % number for number in range(9)]
    assert ask(lambda question: [reply(question, many)]) == (many[:4], 1)


def test_a_question_is_asked_again():
    answers = [[], [reply(b"??" + bytes(28), [])]]

    def answer(question):
        return answers.pop(0) if answers else [reply(question, ["192.0.2.9"])]

    assert ask(answer) == (["192.0.2.9"], 3)


def test_a_server_that_knows_no_such_name_is_believed():
    assert ask(lambda question: [reply(question, [], b"\x81\x83")]) == ([], 1)


def test_a_silent_server_costs_a_bounded_time():
    assert ask(lambda question: []) == ([], 3)


def test_garbage_is_no_answer():
    for octets in (b"", b"x", bytes(12), b"\xff" * 600, bytes(1600)):
        assert ask(lambda question, octets=octets: [octets, reply(question, ["192.0.2.9"])])[0] in (["192.0.2.9"], [])
    wrong = b"\x81\x80\0\1\0\1\0\0\0\0"
    assert ask(lambda q: [q[:2] + wrong + q[12:] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\5hello"]) == ([], 3)


class Responder(Server):
    """Who has a name on the local network: answers what is asked of the multicast group, here on
    loopback."""


def ask_locally(answer, name):
    """What resolve.find_local finds where a Responder answers so, and what it was asked."""

    async def main():
        server = Responder(answer)
        serving = asyncio.create_task(server.serve())
        saved, discovery.GROUP = discovery.GROUP, ("127.0.0.1", server.port)
        try:
            return await resolve.find_local(name), server.asked
        finally:
            discovery.GROUP = saved
            serving.cancel()
            server.socket.close()

    return asyncio.run(main())


def test_a_name_of_the_local_network_is_asked_of_the_network_itself():
    found, asked = ask_locally(lambda question: [reply(question, ["192.0.2.9"], b"\x84\0")], "RaspberryPi.local")
    assert found == ["192.0.2.9"]
    assert asked[0][12:] == b"\x0bRaspberryPi\x05local\0\0\1\0\1"
    many = ["192.0.2.%d" % number for number in range(9)]
    assert ask_locally(lambda question: [reply(question, many, b"\x84\0")], "pi.local")[0] == many[:4]


def test_garbage_on_the_local_network_is_passed_over():
    good = ["192.0.2.9"]
    for octets in (b"", b"x", bytes(12), b"\xff" * 600):
        found, _ = ask_locally(lambda q, octets=octets: [octets, reply(q, good, b"\x84\0")], "pi.local")
        assert found == good


def test_a_local_name_goes_to_the_network_and_another_to_the_name_server():
    asked = []

    async def find_local(name):
        asked.append(name)
        return ["192.0.2.1"]

    right = instead(resolve, "find_local", find_local)
    try:
        for name in ("raspberrypi.local", "RaspberryPi.LOCAL", "raspberrypi.local."):
            assert prepared(client(name), Wifi()) == [("192.0.2.1", 8883)]
            assert prepared(client(name), Wifi(server=None)) == [("192.0.2.1", 8883)]
        assert asked[0] == "raspberrypi.local" and len(asked) == 6
    finally:
        right()


def test_a_name_that_is_none_is_refused():
    for name in ("", ".", "a..b", "a" * 64, ".".join(["a" * 60] * 5)):
        assert raises(dns.DnsError, ask, lambda question: [], name).args == ("label",)


# -- before a link


def client(host=None, port=8883):
    return Client(host, port, "board", ssl="trust", server_name=HOST)


def prepared(mine, wifi, times=1, early=0, clock=None):
    """The addresses that `times` preparations give the Client `mine`; NoAddress in the place of
    none."""
    host, port = mine.address[:2]
    found = []

    async def main(clock):
        way = Reach(mine, host, port, "street", wifi, clock)
        for _ in range(times):
            mine.counters["not-yet-valid"] = early
            try:
                await way.prepare()
                found.append(mine.address[:2])
            except NoAddress:
                found.append(None)

    with Folder() as folder:
        asyncio.run(main(clock or Clock(Store(folder))))
    assert mine.address[2:] == ("trust", HOST)
    return found


def instead(module, name, function):
    """`function` in the place of a module's, which stays loaded; returns what puts things right
    again."""
    saved, unload = getattr(module, name), reach.unload
    setattr(module, name, function)
    reach.unload = lambda: None

    def right():
        setattr(module, name, saved)
        reach.unload = unload

    return right


def test_addresses_are_told_from_names():
    for host in ("127.0.0.1", "0.0.0.0", "255.255.255.255"):
        assert is_address(host)
    for host in (HOST, "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.x", "1.2.3.", "0001.2.3.4", ""):
        assert not is_address(host)


def test_an_address_needs_no_search():
    assert prepared(client("192.0.2.1"), Wifi()) == [("192.0.2.1", 8883)]


def test_without_a_wifi_the_host_resolves_its_names():
    assert prepared(client(HOST), None) == [(HOST, 8883)]


def test_nothing_is_tried_before_the_wifi_is_there():
    mine = client("192.0.2.1")
    signs = []
    mine.alive = lambda: signs.append(1)
    right = instead(reach, "LOOK_S", 0.001)
    try:
        assert prepared(mine, Wifi(looks=20)) == [("192.0.2.1", 8883)] and len(signs) == 20
    finally:
        right()


def test_each_link_tries_the_next_address_and_then_asks_again():
    asked = []

    async def find(server, name):
        asked.append((server, name))
        return ["192.0.2.1", "192.0.2.2"] if len(asked) < 3 else []

    right = instead(resolve, "find", find)
    try:
        one, two = ("192.0.2.1", 8883), ("192.0.2.2", 8883)
        assert prepared(client(HOST), Wifi(), 6) == [one, two, one, two, None, None]
        assert asked == [("127.0.0.1", HOST)] * 4
    finally:
        right()


def test_without_a_name_server_there_is_no_address():
    assert prepared(client(HOST), Wifi(server=None)) == [None]


def test_without_a_host_the_network_is_asked():
    asked = []

    async def find(deployment, *rest):
        asked.append(deployment)
        return [("192.0.2.1", 1883), ("192.0.2.2", 8884)] if len(asked) == 1 else []

    right = instead(discovery, "find", find)
    try:
        assert prepared(client(), Wifi(), 3) == [("192.0.2.1", 1883), ("192.0.2.2", 8884), None]
        assert asked == ["street", "street"]
    finally:
        right()


class Doubted:
    def __init__(self):
        self.doubts = 0

    def doubt(self):
        self.doubts += 1


def test_a_certificate_of_the_future_casts_doubt_on_the_clock_once_for_each():
    clock = Doubted()
    mine = client("192.0.2.1")

    async def main():
        way = Reach(mine, "192.0.2.1", 8883, "street", Wifi(), clock)
        for early, doubts in ((0, 0), (1, 1), (1, 1), (2, 2)):
            mine.counters["not-yet-valid"] = early
            await way.prepare()
            assert clock.doubts == doubts

    asyncio.run(main())


class Passing:
    """A clock, and nothing that casts doubt on it."""

    def __init__(self):
        self.now = 0

    def uptime(self):
        return self.now


def test_when_its_own_has_failed_for_good_a_board_goes_elsewhere_and_the_name_in_the_certificate_stays():
    asked = []

    async def find(deployment, timeout_s, labels, refuse):
        asked.append((deployment, labels))
        refuse("announced-other")
        return [("192.0.2.7", 1), ("192.0.2.8", 2)] if len(asked) == 1 else []

    right = instead(discovery, "find", find)
    mine, clock = client("192.0.2.1"), Passing()
    found = []

    async def main():
        way = Reach(mine, "192.0.2.1", 8883, "street", Wifi(), clock)
        way.others = Gateways(("192.0.2.1", 8883), [("192.0.2.2", 8884), (None, 8883)], 300, ["north"])
        for _ in range(10):
            clock.now += 60
            try:
                await way.prepare()
                found.append(mine.address[:2])
            except NoAddress:
                found.append(None)

    try:
        asyncio.run(main())
    finally:
        right()
    own, second = ("192.0.2.1", 8883), ("192.0.2.2", 8884)
    assert found == [own] * 5 + [second, ("192.0.2.7", 1), ("192.0.2.8", 2), own, second]
    assert asked == [("street", ["north"])] and mine.address[2:] == ("trust", HOST)
    assert mine.counters == {"gateway-changed": 4, "announced-other": 1}
