"""Nothing waits for ever: every wait of every command has an end, or is reviewed here, with the
reason why it needs none."""

from collections import Counter
from pathlib import Path

import pytest

from firmware.build.compile import ROOT
from tests.support.unbounded import in_tree, own_coroutines, waits

SERVICE = "broker/coordinator/service.py"
COMMITS = "broker/coordinator/commits.py"
COMMITTED = "a transaction has COMMIT_S; one that fails ends Service.run(), and this with it"
POWERS = "broker/coordinator/powers.py"
DELAY = "host_sim/fleet/delay.py"
RELAY = "a relay's end is that of either side's connection; Delay.stop() cancels it and waits STOP_S"
SERVER = "the coordinator's main loop: until Ctrl-C, which cancels it, or --rounds"

FEED = "broker/gateway/feed.py"
KEEPER = "broker/gateway/keeping/keeper.py"
TAKES = "until the database takes what came, or Feed.run() cancels it"
AUDITING = "broker/gateway/http/auditing.py"
ANSWER = "one request: it ends with its connection, and that with a peer that takes nothing (process.STALLED_MS)"
GATEWAY = "the gateway's main loop: until Ctrl-C, which cancels it"

VISITORS = "host_sim/town/visitors.py"

# (file, function) -> the waits in it, and why they need no end of their own.
REVIEWED: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {
    (SERVICE, "Service.run"): (("await asyncio.wait",), SERVER),
    (POWERS, "Jobs.watch"): (("await self._failed.wait",), SERVER),
    (SERVICE, "Service._serve"): (("await asyncio.wait", "await asyncio.gather"), SERVER),
    (SERVICE, "Service._read"): (("async for in connection.messages()",), SERVER),
    (SERVICE, "Service._write"): (("await self._outbox.get", "await asyncio.gather"), SERVER),
    (COMMITS, "Commits.room"): (("await self._room.wait",), COMMITTED),
    (COMMITS, "Commits.idle"): (("await self._idle.wait",), COMMITTED),
    (COMMITS, "Commits.run"): (("await self._wake.wait",), "beside the service, whose run() ends it by end()"),
    (POWERS, "_work"): (("pipe.recv",), "a worker waits for jobs; it ends with its pipe, and with its parent"),
    (POWERS, "_end_with_parent"): (("parent.join",), "a thread of its own, which waits for just this"),
    (POWERS, "_Worker._receive"): (("self._pipe.recv",), "there is something to be read, within `seconds`"),
    (POWERS, "Powers.run"): (
        ("async with self._for_long", "await self._free.get"),
        "each job before it has its seconds; then its worker is killed",
    ),
    (VISITORS, "listen"): (("while True: sleep",), "a visitor, for as long as the program: until it is ended"),
    (VISITORS, "await_gateway"): (("while True: sleep",), "until the gateway is there, or the program is ended"),
    (VISITORS, "look"): (
        (
            "async with async_playwright",
            "await playwright.chromium.launch",
            "await chromium.new_page",
            "await page.goto",
            "await page.get_by_label('Token').fill",
            "await page.get_by_role('button', name='Sign in').click",
            "await page.wait_for_selector",
            "while True: sleep",
            "await page.locator('.card').count",
            "await page.evaluate",
            "await page.locator('#live.good').count",
        ),
        "the page is open until the program is ended; a browser that hangs shows in what it told last",
    ),
    ("broker/cli/result.py", "_of_broker"): (
        ("async with aclosing", "async for in results"),
        "`hum result --key ... --follow`: until Ctrl-C, which cancels it",
    ),
    ("broker/cli/result.py", "_follow_folder"): (("while True: sleep",), "`hum result --follow`: until Ctrl-C"),
    ("broker/cli/deployment/status.py", "_watch"): (("while True: sleep",), "`hum status --watch`: until Ctrl-C"),
    ("broker/client/following.py", "follow"): (
        ("async with aclosing", "async for in messages"),
        "for as long as its caller wants; leaving the link has aiomqtt's timeout",
    ),
    ("broker/client/gateway_link.py", "GatewayLink.news"): (
        ("while True: sleep", "async with self._link.connect", "async for in connection.messages()"),
        "for as long as its caller wants; a call to the broker has aiomqtt's timeout",
    ),
    ("broker/client/gateway_link.py", "GatewayLink._write"): (
        ("await self._outbox.get",),
        "beside what is read of the link, which cancels it and waits RECONNECT_S",
    ),
    (FEED, "Feed._follow"): (
        ("while True: sleep", "async with aclosing", "async for in found"),
        "until Feed.run() cancels it; leaving the link has aiomqtt's timeout",
    ),
    ("broker/gateway/members/recorder.py", "Recorder.run"): (
        ("while True: sleep", "await self._woken.wait"),
        "until process.run() cancels it; the database has WAIT_S",
    ),
    (KEEPER, "Keeper.take"): (("async with self._one",), TAKES),
    (KEEPER, "Keeper.take_past"): (("async with self._one",), TAKES),
    (KEEPER, "Keeper.tick"): (("async with self._one",), TAKES),
    (KEEPER, "Keeper._taken"): (("while True: sleep",), TAKES),
    (AUDITING, "Audited.__call__"): (
        ("await self._app", "await self._app", "await unavailable(error.args[0]).response()"),
        ANSWER,
    ),
    (AUDITING, "Audited.__call__.enter"): (("await send",), ANSWER),
    ("broker/gateway/http/bounding.py", "Bounded.__call__"): (("await self._app",), ANSWER),
    ("broker/gateway/http/bounding.py", "Bounded.__call__.within"): (("await receive",), ANSWER),
    ("broker/gateway/http/routes/rosters.py", "_file"): (("async for in request.stream()",), ANSWER),
    ("broker/gateway/page/answers.py", "PageRoute.get_route_handler.told"): (("await answer",), ANSWER),
    ("broker/gateway/page/forms.py", "sent"): (("async for in request.stream()",), ANSWER),
    ("broker/gateway/page/password.py", "_hash"): (("_one_at_a_time.acquire",), "it does not wait: blocking=False"),
    ("broker/cli/deployment/gateway.py", "gateway_password"): (
        ("sys.stdin.readline",),
        "a person types, or a file ends",
    ),
    ("broker/gateway/process.py", "run"): (("await asyncio.wait",), GATEWAY),
    ("broker/gateway/process.py", "heed_revoked"): (("while True: sleep",), "until process.run() cancels it"),
    ("broker/transport/link.py", "Connection.messages"): (("await anext",), "for as long as its caller wants"),
    ("broker/transport/link.py", "Link._connection"): (("async with client",), "aiomqtt gives it the client's timeout"),
    ("broker/transport/link.py", "Link.follow"): (
        ("while True: sleep", "async for in connection.messages()"),
        "for as long as its caller wants; a call to the broker has aiomqtt's timeout",
    ),
    ("host_sim/bench/coordinator.py", "_Connection.messages"): (
        ("await self._arrived.get",),
        "until the service is cancelled, which Street.run() does after MOST_S",
    ),
    ("broker/transport/announce.py", "_announce"): (
        ("async with AsyncZeroconf", "await leaving.wait"),
        "beside the coordinator, until announced() ends: which waits for this no longer than LEAVE_S",
    ),
    ("firmware/cli/erase.py", "_ask"): (
        ("sys.stdin.readline",),
        "a person at a terminal is asked; Ctrl-C is an answer",
    ),
    ("host_sim/bench/onboard/cohort.py", "_packet"): (
        ("await reader.readexactly",),
        "on the board, whose link this is: the bench ends it when it ends the board",
    ),
    ("host_sim/pc/board.py", "Board.await_password"): (
        ("while (password := self._password(credentials)) is None: sleep",),
        "until somebody adds the board, which it has asked for; Ctrl-C ends it",
    ),
    ("host_sim/pc/board.py", "Board._run_micropython"): (
        ("process.wait",),
        "the board itself, for as long as it runs; whatever ends this ends it",
    ),
    ("host_sim/demo/results.py", "Results.next"): (
        ("self._queue.get",),
        "a task beside a loop that looks at the fleet and at the clock every LOOK_S, and cancels it",
    ),
    ("host_sim/ending.py", "run.main"): (("await work",), "the command itself; a signal cancels it"),
    ("host_sim/fleet/boards.py", "Boards.prepare"): (
        ("await asyncio.to_thread",),
        "the compiler has COMPILE_S for each file of the agent",
    ),
    ("host_sim/fleet/boards.py", "Boards.make_identities"): (("await asyncio.gather",), "each board has IDENTITY_S"),
    ("host_sim/fleet/boards.py", "Boards._make_identity"): (
        ("async with turn",),
        "those before it have IDENTITY_S each",
    ),
    ("broker/gateway/home_assistant/home.py", "Home.run"): (
        ("while True: sleep",),
        "the home's broker is waited for as long as the gateway runs, which cancels it",
    ),
    ("broker/gateway/home_assistant/home.py", "Home._linked"): (
        ("async with self._link.connect", "await asyncio.wait"),
        "a link is waited for no longer than its timeout, and held until it is lost or the gateway ends",
    ),
    ("broker/gateway/home_assistant/home.py", "Home._send"): (
        ("await self._more.wait",),
        "until there is something to say: the task is cancelled with its link",
    ),
    ("broker/gateway/home_assistant/home.py", "Home._listen"): (
        ("async for in connection.messages()",),
        "until the link is lost; the task is cancelled with it",
    ),
    ("broker/gateway/outlets.py", "Outlets.run"): (
        ("while True: sleep",),
        "a database that fails is tried again as long as the gateway runs, which cancels this",
    ),
    ("broker/gateway/programs/requests.py", "Requests.take"): (
        ("await answer",),
        "a question to the gateway's database, which has WAIT_S",
    ),
    ("broker/coordinator/clearing.py", "clear"): (
        ("await asyncio.gather",),
        "messages to a broker: a connection gives each of its calls its timeout",
    ),
    ("host_sim/fleet/child.py", "Child.follow"): (("await loop.connect_read_pipe",), "two turns of the event loop"),
    ("host_sim/fleet/child.py", "_read_lines"): (
        ("await reader.read",),
        "until the process ends, which is what its starter wants to hear; who starts one ends it",
    ),
    (DELAY, "Delay.start"): (("await asyncio.start_server",), "a port of this machine is bound, or is not"),
    (DELAY, "Delay._relay"): (("await asyncio.open_connection", "await asyncio.wait"), RELAY),
    (DELAY, "Delay._collect"): (("await reader.read", "await held.put"), RELAY),
    (DELAY, "_send"): (("await held.get", "await writer.drain"), RELAY),
    (DELAY, "_pass"): (("await reader.read", "await writer.drain"), RELAY),
    ("host_sim/fleet/lines.py", "_Pin._pulses"): (("while True: sleep",), "a pin has pulses as long as its board runs"),
    ("host_sim/fleet/observer.py", "Observer.run"): (
        ("async for in link.follow(*self._reader.filters(), diagnostics)",),
        "follows until it is cancelled; Results.next() looks at the fleet and at the clock meanwhile",
    ),
}


def unreviewed(root: Path, *folders: str) -> tuple[list[str], list[str]]:
    """Return the waits of a tree that nobody reviewed, and the reviewed ones that it has not."""
    found = Counter((wait.path, wait.function, wait.what) for wait in in_tree(root, folders))
    known = Counter((*place, what) for place, (whats, _) in REVIEWED.items() for what in whats)
    return ([": ".join(wait) for wait in (found - known)], [": ".join(wait) for wait in (known - found)])


def test_every_wait_has_an_end_or_a_reason() -> None:
    new, gone = unreviewed(ROOT, "host_sim", "broker", "firmware")
    assert new == [], "give these an end (a timeout, a deadline), or review them above"
    assert gone == [], "these are reviewed above and not there any more"


def test_a_wait_that_is_added_to_the_tree_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "host_sim"
    folder.mkdir()
    path = folder / "new.py"
    path.write_text((ROOT / "host_sim/demo/results.py").read_text())
    before = in_tree(tmp_path, ["host_sim"])
    path.write_text(path.read_text() + "\n\nasync def late(task):\n    await task\n")
    assert [wait for wait in in_tree(tmp_path, ["host_sim"]) if wait not in before] == [
        ("host_sim/new.py", "late", "await task")
    ]


ENDLESS = """
    await event.wait()
    await queue.get()
    await queue.put(1)
    await task
    await self.future
    await process.communicate()
    await asyncio.wait(tasks)
    await asyncio.wait(tasks, timeout=None)
    await asyncio.wait_for(task, None)
    await asyncio.gather(*tasks)
    await client.publish(topic, timeout=math.inf)
    await foreign.method()
    async with lock: pass
    async with asyncio.timeout(None): await task
    async for message in client.messages: pass
    [each async for each in client.messages]
    async with asyncio.timeout(5): process.wait()
    async with asyncio.timeout(5): later = lambda: thread.join()
    asyncio.create_task(event.wait())
    process.wait()
    process.wait(timeout=None)
    thread.join()
    work.get()
    lock.acquire()
    connection.recv(1024)
    listener.accept()
    subprocess.run(["make"], check=True)
    subprocess.check_output(["make"])
    select.select([pipe], [], [])
    urllib.request.urlopen(address)
    input()
    sys.stdin.readline()
    fcntl.flock(file, fcntl.LOCK_EX)
    while not path.exists(): time.sleep(0.1)
    while not ready: await asyncio.sleep(0.1)
"""
ENDING = """
    await own()
    await self.own(1, 2)
    await asyncio.sleep(1)
    await asyncio.wait(tasks, timeout=5)
    await asyncio.wait_for(event.wait(), 5)
    await client.publish(topic, payload)
    async with asyncio.timeout(5): await event.wait()
    async with asyncio.timeout(seconds): await asyncio.gather(*tasks)
    async with own(): pass
    process.wait(5)
    process.wait(timeout=5)
    process.communicate(timeout=5)
    thread.join(5)
    work.get(timeout=5)
    settings.get("name")
    ", ".join(names)
    results.accept(plan, [], 1)
    subprocess.run(["make"], timeout=60)
    select.select([pipe], [], [], 5)
    urllib.request.urlopen(address, timeout=5)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    while not ready and time.monotonic() < end: time.sleep(0.1)
    with open(path) as file: file.readline()
"""


@pytest.mark.parametrize("line", [line.strip() for line in ENDLESS.strip().splitlines()])
def test_a_wait_without_an_end_is_found(line: str) -> None:
    assert _found(line)


@pytest.mark.parametrize("line", [line.strip() for line in ENDING.strip().splitlines()])
def test_a_wait_with_an_end_is_none(line: str) -> None:
    assert _found(line) == []


def _found(line: str) -> list[str]:
    source = f"async def case():\n    {line}\n\nasync def own():\n    pass\n"
    return [wait.what for wait in waits("case.py", source, own_coroutines([source]))]
