"""The MQTT client against a real Mosquitto, on CPython and, in a process of 160 KB of heap, on
MicroPython."""

import asyncio
import datetime
import gc
import ipaddress
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from agent.crypto import p256
from agent.runtime import start
from agent.runtime.net import mqtt, mqtt_decoder, mqtt_link, mqtt_packets
from agent.wire import messages, topics
from broker.deploy.mosquitto.passwords import file_of
from tests.support.mosquitto_process import Mosquitto

pytestmark = pytest.mark.alone

ROOT = Path(__file__).parents[2]
MICROPYTHON = Path(sys.executable).parent / "micropython"
PATIENCE_S = 60.0


class Recorder:
    """A running client and all that it reported."""

    def __init__(self, port: int, client_id: str, host: str = "127.0.0.1", **options: Any) -> None:
        self.client = mqtt.Client(host, port, client_id, **options)
        self.client.backoff_first = self.client.backoff_cap = 0.02  # type: ignore[assignment]
        self.messages: list[tuple[str, bytes, bool]] = []
        self.states: list[bool] = []
        self.client.on_message = lambda *message: self.messages.append(message)
        self.client.on_link = self.states.append

    async def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, (self.states, self.client.counters, len(self.messages))
            await asyncio.sleep(0.005)

    async def up(self, times: int = 1) -> None:
        await self.until(lambda: self.states.count(True) >= times and self.states[-1])


@asynccontextmanager
async def connected(port: int, client_id: str, *filters: str, **options: Any) -> AsyncIterator[Recorder]:
    recorder = Recorder(port, client_id, **options)
    for name in filters:
        recorder.client.subscribe(name)
    running = asyncio.create_task(recorder.client.run())
    try:
        await recorder.up()
        yield recorder
    finally:
        await recorder.client.stop()
        await running


@pytest.fixture(scope="module")
def broker() -> Iterator[Mosquitto]:
    with Mosquitto() as mosquitto:
        yield mosquitto


def open_sockets() -> int:
    return sum(os.readlink(f"/proc/self/fd/{fd}").startswith("socket:") for fd in safe_descriptors())


def safe_descriptors() -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")]


def test_messages_of_both_levels_arrive_in_order(broker: Mosquitto) -> None:
    async def main() -> None:
        async with connected(broker.port, "both-levels", "levels/#") as me:
            await me.client.publish("levels/0", b"zero")
            await me.client.publish("levels/1", b"one", 1)
            await me.client.publish("levels/\u00e9", b"", 1)
            await me.until(lambda: len(me.messages) == 3)
            assert me.messages == [
                ("levels/0", b"zero", False),
                ("levels/1", b"one", False),
                ("levels/\u00e9", b"", False),
            ]
            assert me.client.counters == {}

    asyncio.run(main())


def test_bytes_are_counted_as_they_go_over_the_wire(broker: Mosquitto) -> None:
    async def main() -> None:
        async with connected(broker.port, "count", "count/a") as me:
            await me.client.publish("count/a", b"12345", 1)
            await me.until(lambda: len(me.messages) == 1)
        # CONNECT 10+7+2, SUBSCRIBE 2+2+9+1, PUBLISH 2+9+2+5, PUBACK 4, DISCONNECT 2
        assert me.client.bytes_sent == 19 + 14 + 18 + 4 + 2
        # CONNACK 4, SUBACK 5, PUBACK 4, PUBLISH as above
        assert me.client.bytes_received == 4 + 5 + 4 + 18

    asyncio.run(main())


def test_retained_messages_come_flagged_and_before_the_link_is_reported(broker: Mosquitto) -> None:
    async def main() -> None:
        async with connected(broker.port, "retainer") as writer:
            await writer.client.publish("kept", b"state", 1, True)
            async with connected(broker.port, "late", "kept") as reader:
                await reader.until(lambda: len(reader.messages) == 1)
                assert reader.messages == [("kept", b"state", True)]

    asyncio.run(main())


def test_the_will_is_published_upon_drop_and_not_upon_stop(broker: Mosquitto) -> None:
    async def main() -> None:
        async with connected(broker.port, "watcher", "wills/#") as watcher:
            async with connected(broker.port, "leaver", will=("wills/stop", b"gone", 1, False)):
                pass
            async with connected(broker.port, "dropper", will=("wills/drop", b"gone", 1, True)) as dropper:
                dropper.client.drop()
                await watcher.until(lambda: len(watcher.messages) == 1)
                await dropper.up(2)
            assert watcher.messages == [("wills/drop", b"gone", False)]
            assert dropper.client.counters == {"dropped": 1}

    asyncio.run(main())


def test_user_and_password_are_asked_for(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_bytes(file_of({"board": "right"}))

    async def main(port: int) -> None:
        wrong = Recorder(port, "wrong", user="board", password="wrong")
        running = asyncio.create_task(wrong.client.run())
        await wrong.until(lambda: wrong.client.counters.get("refused-5", 0) >= 2)
        await wrong.client.stop()
        await running
        assert list(wrong.client.counters) == ["refused-5"] and not wrong.states
        async with connected(port, "right", "a", user="board", password="right") as right:
            await right.client.publish("a", b"let in", 1)
            await right.until(lambda: right.messages == [("a", b"let in", False)])

    with Mosquitto(f"allow_anonymous false\npassword_file {passwords}") as mosquitto:
        asyncio.run(main(mosquitto.port))


def test_a_killed_broker_is_found_again_with_all_subscriptions() -> None:
    async def main(mosquitto: Mosquitto) -> None:
        async with connected(mosquitto.port, "survivor", "a/#", "b") as me:
            mosquitto.kill()
            await me.until(lambda: me.states == [True, False])
            with pytest.raises(mqtt.LinkLost):
                await me.client.publish("a/b", b"lost", 1)
            mosquitto.start()
            await me.up(2)
            await me.client.publish("a/b", b"1", 1)
            await me.client.publish("b", b"2", 1)
            await me.until(lambda: len(me.messages) == 2)
            assert me.messages == [("a/b", b"1", False), ("b", b"2", False)]
            assert me.client.counters.pop("link-lost") == 1
            assert set(me.client.counters) <= {"connect-failed"}

    with Mosquitto() as mosquitto:
        asyncio.run(main(mosquitto))


def test_fifty_reconnections_leave_no_socket_behind(broker: Mosquitto) -> None:
    async def main() -> None:
        async with connected(broker.port, "again", "again") as me:
            me.client.backoff_first = me.client.backoff_cap = 0
            before = open_sockets()
            for times in range(2, 52):
                me.client.drop()
                await me.up(times)
            await me.until(lambda: open_sockets() == before)
            assert me.client.counters == {"dropped": 50}

    asyncio.run(main())
    gc.collect()  # an unclosed transport would warn here, and warnings are errors


def test_a_thousand_messages_arrive_once_each_from_eight_at_a_time(broker: Mosquitto) -> None:
    async def main() -> None:
        async with connected(broker.port, "many", "many/#") as me:
            places = asyncio.Semaphore(mqtt_link.IN_FLIGHT_MOST)

            async def publish(number: int) -> None:
                async with places:
                    await me.client.publish(f"many/{number % 7}", b"%d" % number, 1)

            await asyncio.gather(*[publish(number) for number in range(1000)])
            await me.until(lambda: len(me.messages) >= 1000)
            assert sorted(int(payload) for _, payload, _ in me.messages) == list(range(1000))
            assert me.client.counters == {}

    asyncio.run(main())


def test_messages_kept_for_a_lasting_session_come_at_the_next_link(broker: Mosquitto) -> None:
    async def main() -> None:
        async with connected(broker.port, "lasting", "lasting", clean=False):
            pass
        async with connected(broker.port, "other") as other:
            await other.client.publish("lasting", b"kept", 1)
        async with connected(broker.port, "lasting", "lasting", clean=False) as me:
            await me.until(lambda: me.messages == [("lasting", b"kept", False)])
            assert me.client.counters == {}

    asyncio.run(main())


# -- TLS


def make_certificates(folder: Path, first: int = 2020, last: int = 2049) -> None:
    """ca.pem, ca.der, and server.pem with server.key for localhost and 127.0.0.1, signed by the CA.

    The server's is valid from the beginning of the year `first` to the beginning of the year
    `last`.
    """
    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])

    def builder(
        subject: x509.Name, key: ec.EllipticCurvePrivateKey, years: tuple[int, int] = (2015, 2049)
    ) -> x509.CertificateBuilder:
        first, last = (datetime.datetime(year, 1, 1) for year in years)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(first).not_valid_after(last)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
        return made.add_extension(identifier, critical=False).add_extension(authority, critical=False)

    usage = dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"), False)
    usage |= dict.fromkeys(("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False)
    ca = (
        builder(ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**(usage | {"key_cert_sign": True})), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
    server = (
        builder(server_name, server_key, (first, last))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**(usage | {"digital_signature": True})), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    (folder / "ca.der").write_bytes(ca.public_bytes(Encoding.DER))
    (folder / "server.pem").write_bytes(server.public_bytes(Encoding.PEM))
    private = server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "server.key").write_bytes(private)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture(scope="module")
def tls_broker(certificates: Path) -> Iterator[Mosquitto]:
    files = f"certfile {certificates}/server.pem\nkeyfile {certificates}/server.key"
    with Mosquitto(files) as mosquitto:
        yield mosquitto


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_tls_carries_messages_and_reconnects(tls_broker: Mosquitto, certificates: Path, host: str) -> None:
    async def main() -> None:
        context = start._trust(str(certificates / "ca.der"))
        async with connected(tls_broker.port, "tls", "tls", host=host, ssl=context) as me:
            before = open_sockets()
            for times in range(2, 7):
                me.client.drop()
                await me.up(times)
            await me.client.publish("tls", bytes(8000), 1)
            await me.until(lambda: me.messages == [("tls", bytes(8000), False)])
            await me.until(lambda: open_sockets() == before)
            assert me.client.counters == {"dropped": 5}

    asyncio.run(main())
    gc.collect()


@pytest.mark.parametrize("size", [0, 8000])
def test_over_tls_what_nobody_answers_leaves_at_once(tls_broker: Mosquitto, certificates: Path, size: int) -> None:
    """No bytes come back that could wake who waits for the last ones to have left."""

    async def main() -> None:
        context = start._trust(str(certificates / "ca.der"))
        async with connected(tls_broker.port, "quiet", host="localhost", ssl=context, keepalive=1000) as me:
            for _ in range(5):
                async with asyncio.timeout(60):
                    await me.client.publish("nobody/hears", bytes(size))
            assert me.client.counters == {}

    asyncio.run(main())
    gc.collect()


def test_a_certificate_of_another_authority_is_refused(tls_broker: Mosquitto, tmp_path: Path) -> None:
    make_certificates(tmp_path)

    async def main() -> None:
        context = start._trust(str(tmp_path / "ca.der"))
        me = Recorder(tls_broker.port, "doubter", ssl=context)
        running = asyncio.create_task(me.client.run())
        await me.until(lambda: me.client.counters.get("untrusted", 0) >= 2)
        await me.client.stop()
        await running
        assert list(me.client.counters) == ["untrusted"] and not me.states

    asyncio.run(main())
    figures = run_board("localhost", tls_broker.port, 10, tmp_path / "ca.der")
    assert figures["echoed"] == 0 and figures["untrusted"] >= 1


@pytest.mark.parametrize(("first", "last", "reason"), [(2045, 2049, "not-yet-valid"), (2016, 2018, "untrusted")])
def test_a_certificate_before_its_first_day_or_after_its_last_is_refused(
    tmp_path: Path, first: int, last: int, reason: str
) -> None:
    """On MicroPython too: its TLS checks the dates against the clock, which is why a board has to
    set one."""
    make_certificates(tmp_path, first, last)
    files = f"certfile {tmp_path}/server.pem\nkeyfile {tmp_path}/server.key"

    async def main(port: int) -> None:
        me = Recorder(port, "early", host="localhost", ssl=start._trust(str(tmp_path / "ca.der")))
        running = asyncio.create_task(me.client.run())
        await me.until(lambda: me.client.counters.get(reason, 0) >= 2)
        await me.client.stop()
        await running
        assert list(me.client.counters) == [reason] and not me.states

    with Mosquitto(files) as mosquitto:
        asyncio.run(main(mosquitto.port))
        figures = run_board("localhost", mosquitto.port, 10, tmp_path / "ca.der")
    assert figures["echoed"] == 0 and figures[reason] >= 1


@pytest.mark.parametrize(("name", "trusted"), [("localhost", True), ("elsewhere", False)])
def test_the_provisioned_name_decides_and_not_the_address(
    tls_broker: Mosquitto, certificates: Path, name: str, trusted: bool
) -> None:
    async def main() -> None:
        context = start._trust(str(certificates / "ca.der"))
        me = Recorder(tls_broker.port, "named", ssl=context, server_name=name)
        running = asyncio.create_task(me.client.run())
        await me.until(lambda: bool(me.states or me.client.counters))
        await me.client.stop()
        await running
        assert (me.states[:1], list(me.client.counters)) == (([True], []) if trusted else ([], ["untrusted"]))

    asyncio.run(main())
    figures = run_board("127.0.0.1", tls_broker.port, 10, certificates / "ca.der", name)
    assert figures["echoed"] == (10 if trusted else 0) and figures.get("untrusted", 0) == (0 if trusted else 1)


# -- MicroPython


def run_board(host: str, port: int, messages: int, ca: Path | None = None, name: str = "") -> dict[str, int]:
    command = [
        str(MICROPYTHON),
        "-X",
        "heapsize=160k",
        "tests/support/mqtt_board_client.py",
        host,
        str(port),
        str(messages),
    ]
    command += [str(ca)] if ca else []
    command += [name] if name else []
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    print(run.stdout, run.stderr)
    assert run.returncode == 0 and not run.stderr, run.stdout + run.stderr
    return {name: int(value) for name, value in (line.split() for line in run.stdout.splitlines())}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_board_loses_no_message_and_no_heap(broker: Mosquitto, host: str) -> None:
    figures = run_board(host, broker.port, 1000)
    assert figures["echoed"] == 1000
    assert figures["growth_bytes"] < 1024
    assert figures["sockets"] == 0
    assert figures["round_trip_us"] < 20_000
    assert set(figures) == {"import_bytes", "connect_bytes", "growth_bytes", "echoed", "round_trip_us", "sockets"}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_board_speaks_tls(tls_broker: Mosquitto, certificates: Path, host: str) -> None:
    figures = run_board(host, tls_broker.port, 300, certificates / "ca.der")
    assert figures["echoed"] == 300
    assert figures["growth_bytes"] < 1024
    assert figures["sockets"] == 0


def board_command(folder: Path, port: int, ca: Path) -> list[str]:
    settings = {
        "deployment": "test",
        "group": "tls",
        "device": "board",
        "authority": p256.public_key(bytes(31) + b"\x01").hex(),
        "host": "localhost",
        "port": port,
        "password": "taken by any broker",
        "ca": str(ca),
        "flash": str(folder / "flash"),
        "columns": [],
    }
    (folder / "flash").mkdir()
    (folder / "settings.json").write_text(json.dumps(settings))
    return [str(MICROPYTHON), "-X", "heapsize=512k", "-m", "host_sim.fleet.board", str(folder / "settings.json")]


def test_a_board_made_from_settings_comes_up_over_tls(
    tls_broker: Mosquitto, certificates: Path, tmp_path: Path
) -> None:
    topic = topics.device("test", "board", "state")

    async def main() -> None:
        context = start._trust(str(certificates / "ca.der"))
        async with connected(tls_broker.port, "watcher", topic, host="localhost", ssl=context) as watcher:
            command = board_command(tmp_path, tls_broker.port, certificates / "ca.der")
            board = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
            try:
                await watcher.until(lambda: len(watcher.messages) == 1)
            finally:
                board.kill()
                await board.wait()
            await watcher.until(lambda: len(watcher.messages) == 2)
        up, down = messages.presence(True), messages.presence(False)
        assert [payload for _, payload, _ in watcher.messages] == [up, down]

    asyncio.run(main())


def test_a_board_whose_authority_is_in_pem_says_so_and_ends(certificates: Path, tmp_path: Path) -> None:
    command = board_command(tmp_path, 1883, certificates / "ca.pem")
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 1 and "SettingsError: ca" in run.stdout + run.stderr


# -- any bytes at all


@given(st.binary(max_size=400), st.sampled_from([b"", b"\x20\x02", b"\x30\x20\x00", b"\x32\x10\x00\x03", b"\x90\x08"]))
def test_whatever_the_broker_sends_is_a_packet_or_a_packet_error(tail: bytes, head: bytes) -> None:
    octets = head + tail
    while octets:
        parser = mqtt_decoder.incoming(256)
        wanted, taken = next(parser), 0
        try:
            while taken + wanted <= len(octets):
                assert 1 <= wanted <= 256 + 2
                taken += wanted
                wanted = parser.send(octets[taken - wanted : taken])
            return
        except StopIteration as done:
            assert done.value[0] in (0, 2, 3, 4, 9, 13)
            octets = octets[taken:]
        except mqtt_packets.PacketError as error:
            assert error.reason == "malformed"
            return


@given(st.text(min_size=1, max_size=64), st.binary(max_size=300), st.integers(1, 65535), st.booleans())
def test_what_is_encoded_is_decoded_again(topic: str, payload: bytes, identifier: int, retain: bool) -> None:
    try:
        packet = mqtt_packets.publish(topic, payload, 1, retain, identifier)
    except (ValueError, UnicodeEncodeError):
        assert set(topic) & set("+#\x00")
        return
    parser = mqtt_decoder.incoming(1000)
    wanted = next(parser)
    try:
        while True:
            octets, packet = packet[:wanted], packet[wanted:]
            wanted = parser.send(octets)
    except StopIteration as done:
        assert done.value == (mqtt_packets.PUBLISH, topic, payload, 1, retain, identifier)
    assert packet == b""
