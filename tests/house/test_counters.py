"""Every counter has a reader. What boards and coordinator count is found in the source; then a
number of its own is put into each counter that runs, and must come out where an operator looks: in
the board's diagnostics, `hum coordinator status` as a table and with --json, and on the console."""

import ast
import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from functools import cache, partial
from pathlib import Path
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
from typer.testing import CliRunner

from agent.crypto import accelerate, p256
from agent.runtime.net.mqtt import Client
from agent.runtime.start import assemble_board
from agent.runtime.system.clock import Clock
from agent.runtime.system.diagnostics import Health
from agent.runtime.upkeep import Upkeep
from agent.wire import coordination, messages
from broker.cli.main import app
from broker.cli.result import _why
from broker.client import Reader, follow
from broker.client.gateway_link import GatewayLink
from broker.client.members import Watch
from broker.client.past import Past
from broker.coordinator.home import Home
from broker.coordinator.protocols.gossip.machine import Gossip
from broker.coordinator.protocols.gossip.records import Saved
from broker.coordinator.scope import Scope
from broker.coordinator.service import Service
from broker.gateway.members import Members
from broker.gateway.metrics import Metrics
from broker.gateway.outlets import Kept, home_of
from broker.gateway.site import Outward
from broker.transport.link import Connection, Link, Message, _Queue
from host_sim.virtual.memory_store import MemoryStore
from tests.agent.runtime import test_start
from tests.support.client_town import Town
from tests.support.files_at_hand import Folder
from tests.support.hand_made import SCHEDULE, World
from tests.support.signer_at_hand import signer_in
from tests.support.street_of_askers import DEPLOYMENT, GROUP, Street

ROOT = Path(__file__).parents[2]

# What looks like a counter and is none, or is read by the program itself.
NO_COUNTERS = {
    "wh": "the pulses' register: it is what sums are of",
    "at": "a place in a text",
    "count": "pulses: the register has them",
    "bytes_received": "the link's pings go by it",
    "bytes_sent": "with each event on the console",
    "listeners": "how many streams are open now: it bounds them",
    "keys_done": "progress(), as done",
    "publish": "a list of what is to be said",
    "records": "a list of what is to be recorded",
    "round": "progress of a query",
    "sent": "with the end of a query on the console",
    "silent_most": "a query's plan",
    "total": "of rounds, for who has close lists",
    "tokens": "a budget",
    "wanted": "what is to be made ahead",
    "age": "readings since a register fell: what it may still come back to",
    "identities": "whose registers a telegram has",
    "messages": "the time that a link has to come up goes by it",
    "signs": "whether the network carries: what is done to a dead radio goes by it",
    "totals": "registers of a telegram",
    "risen": "energy: a register's account has it",
    "shape": "which tariffs a telegram has",
    "_volumes": "what a telegram's meters of volumes tell",
    "whole": "whether rate and framing are the right ones",
    "_asked": "how often a member may still be asked: a budget",
    "_hard": "rounds that a search has failed in",
    "_held": "how often is said that a share is held: a budget",
    "_missed": "rounds in a row without a member: `not-ready` and `absent` in the sets",
    "_repeated": "how often a share may still be sent again: a budget",
    "_sent": "how often a share was sent: a budget",
}


class Counter(NamedTuple):
    """An attribute that counts: a number, or with `named` a dictionary of them."""

    path: str
    name: str
    named: bool


# Looked for in tests of their own, below: of clients, of a link's queue, and of the gateway.
ELSEWHERE = [
    Counter("broker/client/reader.py", "refused", True),
    Counter("broker/client/members.py", "refused", True),
    Counter("broker/client/past.py", "refused", True),
    Counter("broker/transport/link.py", "dropped", False),
]
IN_METRICS = [Counter("broker/gateway/programs/requests.py", "refused", True)]


def counters_of(path: str, text: str) -> Iterator[Counter]:
    """Yield what counts in a module: `x.name += 1`, `x.name = (x.name + 1) & mask`,
    `x.names[key] += 1` and `x.names[key] = x.names.get(key, 0) + 1`; private numbers are none."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
            target, grows = node.target, True
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            counted = ast.unparse(target.value) + ".get(" if isinstance(target, ast.Subscript) else ast.unparse(target)
            grows = f"{counted} + 1" in ast.unparse(node.value) or (
                counted.endswith("(") and counted in ast.unparse(node.value)
            )
        else:
            continue
        if not grows:
            continue
        if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Attribute):
            yield Counter(path, target.value.attr, True)
        elif isinstance(target, ast.Attribute) and not target.attr.startswith("_"):
            yield Counter(path, target.attr, False)


@cache
def every() -> set[Counter]:
    """Return what seems to count, of boards, coordinator and clients."""
    paths = [path for package in ("agent", "broker") for path in sorted((ROOT / package).rglob("*.py"))]
    return {one for path in paths for one in counters_of(str(path.relative_to(ROOT)), path.read_text())}


@cache
def found() -> set[Counter]:
    """Return all counters."""
    return {one for one in every() if one.name not in NO_COUNTERS}


@pytest.fixture(scope="module", autouse=True)
def fast() -> Iterator[None]:
    accelerate.use_host_libraries()
    yield
    accelerate.install()


def met(root: object) -> dict[int, Any]:
    """Return the objects of the program's own classes that can be reached from `root`, by id()."""
    seen: dict[int, Any] = {}
    waiting = [root]
    while waiting:
        one = waiting.pop()
        # What others' modules hold is not ours, and some import more when they are asked for a name.
        if id(one) in seen or isinstance(one, str | bytes | int | type | ModuleType):
            continue
        seen[id(one)] = one
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list | tuple | set):
            waiting += one
        elif isinstance(one, FunctionType) and one.__closure__:
            waiting += [cell.cell_contents for cell in one.__closure__]
        elif isinstance(one, BuiltinMethodType | MethodType):
            waiting.append(one.__self__)
        elif hasattr(one, "__dict__"):
            waiting += vars(one).values()
    return {
        key: one
        for key, one in seen.items()
        if hasattr(one, "__dict__") and type(one).__module__.split(".")[0] in ("agent", "broker")
    }


def plant(root: object, first: int) -> dict[int, Counter]:
    """Put another number into each counter that can be reached from `root`; return whose they are."""
    planted: dict[int, Counter] = {}
    counters = found()
    for one in met(root).values():
        # A class has the counters of its own module and of those that it inherits from; what others
        # count for it has its name.
        modules = {base.__module__.replace(".", "/") + ".py" for base in type(one).__mro__}
        for counter in sorted(counters):
            own = counter.path in modules or counter.name in ("links", "dropped")
            if (
                own
                and counter.name in vars(one)
                and isinstance(vars(one)[counter.name], dict if counter.named else int)
            ):
                number = first + len(planted)
                setattr_or_key(one, counter, number)
                planted[number] = counter
    return planted


def setattr_or_key(one: Any, counter: Counter, number: int) -> None:
    if counter.named:
        getattr(one, counter.name)[f"probe-{number}"] = number
    else:
        setattr(one, counter.name, number)


def numbers(value: Any) -> set[int]:
    """Return all integers in JSON."""
    if isinstance(value, dict | list):
        return set().union(*map(numbers, value.values() if isinstance(value, dict) else value))
    return {value} if isinstance(value, int) else set()


class Office:
    """Where an operator looks: a coordinator's folder, with a service over it that hears boards."""

    def __init__(self, folder: Path, device: str, *machines: Any) -> None:
        self.folder = folder / "office"
        authority = p256.public_key(p256.generate(lambda size: bytes(size - 1) + b"\x01"))
        self.home = Home.init(self.folder, DEPLOYMENT, authority)
        self.service = Service(DEPLOYMENT, machines, self.home.storage, Link("127.0.0.1", 1, None, None, None))
        self.service._members = {device}

    def status(self) -> tuple[str, set[int]]:
        """Return the tables of `hum coordinator status`, and the numbers of --json."""
        self.service._count_refusals()
        self.service._reports.note_last()
        self.service._commits.end()
        asyncio.run(self.service._commits.run())
        command = ["coordinator", "status", "--state", str(self.folder)]
        told = [CliRunner().invoke(app, [*command, *more], env={"COLUMNS": "80"}) for more in ([], ["--json"])]
        assert [one.exit_code for one in told] == [0, 0], told
        assert max(map(len, told[0].stdout.splitlines())) <= 80
        return told[0].stdout, numbers(json.loads(told[1].stdout))


def read_by_an_operator(folder: Path, board: Any, planted: dict[int, Counter]) -> dict[int, Counter]:
    """Let a board say all; return the counters that an operator does not find somewhere."""
    said: list[dict[str, object]] = []
    board.note = lambda event, fields: said.append(fields)
    Upkeep(board, 60)._tell()
    office = Office(folder, "meter-a")
    report = board.health.report(board.machine, board.client)
    office.service._route(f"hum/v1/{DEPLOYMENT}/dev/meter-a/diag", report)
    table, listed = office.status()
    console = numbers(json.loads(json.dumps(said)))
    unlisted = {number for number in planted if number not in listed or str(number) not in table}
    # What a board has written and how often it was linked is no trouble: the console has each time.
    usual = {number for number, counter in planted.items() if counter.name in ("puts", "written", "links", "joins")}
    silent = {number for number in planted if number not in console} - usual
    return {number: planted[number] for number in unlisted | silent}


METERS: dict[str, dict[str, object]] = {
    "p1": {"kind": "p1", "uart": 1, "rx": 5},
    "sml": {"kind": "sml", "uart": 1, "rx": 5},
    "s0": {"kind": "s0", "pin": 5, "impulses": 1000},
}


def look_at_a_board(tmp_path: Path, kind: str) -> set[Counter]:
    """Return the counters of a board with a meter of this kind, which its operator finds."""
    with Folder() as folder, test_start.Hardware():
        changes = {"meter": METERS[kind], "wifi": {"ssid": "x", "password": "12345678"}}
        board = assemble_board(test_start.settings(folder, **changes), test_start.silent)
        planted = plant(board, 70001)
        assert read_by_an_operator(tmp_path, board, planted) == {}
        return set(planted.values())


class Asked:
    """What a board that answers queries is to its diagnostics."""

    def __init__(self, machine: Any) -> None:
        store: Any = MemoryStore()
        self.machine = machine
        self.client = Client(None, 1883, "meter-a")
        self.health = Health(store, Clock(store))


def look_at_a_query(tmp_path: Path, protocol: str) -> set[Counter]:
    """Return the counters of a board while it takes part in a query."""
    with signer_in(tmp_path) as signer:
        street = Street(7, 1, protocol, signer=signer.modulus)
        street.start()
        street.ask(street.query(1))
        machine = street.boards[0].machine
        while not machine.inquiry:
            assert street.clock < 1500, machine.refused
            street.run(street.clock + 1)
        planted = plant(machine, 80001)
        machine._over()
        assert read_by_an_operator(tmp_path, Asked(machine), planted) == {}
        return set(planted.values())


def look_at_a_coordinator(tmp_path: Path) -> set[Counter]:
    """Return the counters of a coordinator that has groups of both kinds."""
    town, street = World(tmp_path), Street(5, 1)
    scope = Scope(DEPLOYMENT, GROUP, 1, street.digest, street.signed, street.roster)
    office = Office(tmp_path, "meter-a", town.machine, Gossip(scope, street.coordinator, bytes(16), SCHEDULE, Saved()))
    planted = plant(office.service, 90001)
    assert len(planted) == 3
    table, listed = office.status()
    assert not {number for number in planted if number not in listed or str(number) not in table}
    town.close()
    return set(planted.values())


def test_what_a_reader_of_results_refuses_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader = Reader(Town(tmp_path).access)
    assert set(plant(reader, 95001).values()) == {ELSEWHERE[0]}
    assert _why(reader) == "; refused: probe-95001 (95001)"

    class Told:
        """A link that has brought one message, and is lost."""

        async def follow(self, *filters: str) -> AsyncGenerator[Message, None]:
            yield Message("hum/v1/town/g/street/else", b"", False)

    async def followed() -> None:
        link: Any = Told()
        assert [one async for one in follow(link, reader)] == []

    asyncio.run(followed())
    assert {one.getMessage() for one in caplog.records} == {"refused 95001: probe-95001", "refused 1: wrong-topic"}


def test_what_a_gateway_refuses_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    town = Town(tmp_path)
    watch = Watch(town.access, town.private)
    assert set(plant(watch, 96001).values()) == {ELSEWHERE[1]}
    past = Past(town.access, Watch(town.access, town.private))
    assert set(plant(past, 97001).values()) == {ELSEWHERE[1], ELSEWHERE[2]}
    gateway = GatewayLink(Link("127.0.0.1", 1, None, None, None), Reader(town.access), watch, past)
    assert gateway._take("hum/v1/town/g/street/else", b"x") == []
    told = {"refused 96001: probe-96001", "refused 97001: probe-97001", "refused 1: wrong-topic"}
    assert {one.getMessage() for one in caplog.records} == told


def test_messages_that_came_too_fast_are_counted_as_refused() -> None:
    queue = _Queue(maxsize=1)
    message: Any = None
    queue.put_nowait(message)
    for _ in range(2):
        with pytest.raises(asyncio.QueueFull):
            queue.put_nowait(message)
    client: Any = SimpleNamespace(_queue=queue)
    connection = Connection(client)
    assert (connection.take_dropped(), connection.take_dropped()) == (2, 0)


def test_what_the_gateway_refuses_is_in_its_metrics() -> None:
    metrics, kept = Metrics("0", Members()), cast(Kept, None)  # nothing is asked of it
    home = home_of(Outward(Link("127.0.0.1", 1, None, None, None)), DEPLOYMENT, "0", kept, metrics)
    assert home
    assert set(plant(home._requests, 96001).values()) == set(IN_METRICS)
    text = metrics.render().decode()
    assert 'hum_inputs_refused_total{reason="probe-96001"} 96001.0' in text


def test_every_counter_is_found_where_an_operator_looks(tmp_path: Path) -> None:
    """Who adds a counter gives it a reader, or says in NO_COUNTERS why it needs none."""
    looks: dict[str, Callable[[Path], set[Counter]]] = {
        **{kind: partial(look_at_a_board, kind=kind) for kind in METERS},
        **{protocol: partial(look_at_a_query, protocol=protocol) for protocol in ("gossip", "gossip-bft")},
        "coordinator": look_at_a_coordinator,
    }
    met = {*ELSEWHERE, *IN_METRICS}
    for name, look in looks.items():
        folder = tmp_path / name
        folder.mkdir()
        met |= look(folder)
    assert found() - met == set()
    assert {one.name for one in every()} >= set(NO_COUNTERS)


def reasons_of(*folders: str) -> set[str]:
    """Return the names under which something is refused or counted, of the modules in `folders`."""
    names = {
        "refuse",
        "_refuse",
        "count",
        "_count",
        "Refused",
        "MessageError",
        "EnvelopeError",
        "OnionError",
        "CborError",
    }
    reasons: set[str] = set()
    for path in (path for folder in folders for path in (ROOT / "agent" / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                texts = [one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant)]
                reasons |= {text for text in texts if called in names and isinstance(text, str)}
    return reasons


@pytest.mark.parametrize("protocol", ["private_sum", "gossip"])
def test_all_reasons_of_a_board_together_are_told_one_by_one(protocol: str) -> None:
    reasons = reasons_of("protocols/base", f"protocols/{protocol}", "runtime", "wire") - {"1", ""}
    assert len(reasons) > 30
    report = messages.diagnostics("ready", 1, 1, 1, 1, dict.fromkeys(reasons, 0xFFFFFFFF))
    assert coordination.read_diagnostics(report)[5] == dict.fromkeys(reasons, 0xFFFFFFFF)
