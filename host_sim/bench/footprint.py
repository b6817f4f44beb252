"""What the agent takes of a board's flash and heap: the footprint part of `make bench`, and
`hum-sim bench footprint`.

Sizes are those of the .mpy files. The heap is a real board's, on the unix port of MicroPython
(host_sim/bench/onboard/cohort.py), after it has joined a group of 32 and shared with all of it; the
bench's own code is taken off, and what the MQTT client and a link take, without the socket and TLS,
is added. The second run is one of many rounds, in which the heap must not grow.

The port has words of 64 bits, boards have 32: words.py says what a board's heap is then.

Code can be in the flash, too, and run there: frozen into the firmware, or in a read-only file
system (ROMFS), which asks for a firmware that is built with one. The latter is measured: the same
board joins with its .mpy files in a ROMFS image, and the image, which the port has on the heap, is
taken off. Frozen code has its tables of names and constants in the flash besides: computed from the
files.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.crypto import accelerate
from broker.cli.tables import show_figures
from firmware.build import romfs
from firmware.build.compile import ARCHITECTURES, compile_agent, tool
from host_sim.bench import mpy_file, words
from host_sim.bench.cohort import HEAP, MASKS_TARGET
from host_sim.bench.cohort_street import Street
from host_sim.bench.group import SLOTS, Group
from host_sim.bench.peers import BATCHES, BoardProcess, report
from host_sim.fleet.programs import compile_boards

GROUP = 32
# Not in the core, with all that only they need: firmware has AES; one protocol; one meter;
# one gateway.
NOT_CORE = (
    "agent/crypto/aes.py",
    "agent/protocols/gossip/machine.py",
    "agent/runtime/burning.py",
    "agent/runtime/net/gateways.py",
    "agent/meters/dsmr.py",
    "agent/meters/dsmr_frames.py",
    "agent/meters/uart/signs.py",
    "agent/meters/played.py",
    "agent/meters/simulated.py",
    "agent/meters/p1_port.py",
    "agent/meters/sml/frames.py",
    "agent/meters/sml/messages.py",
    "agent/meters/sml/port.py",
    "agent/meters/uart/telegram.py",
    "agent/meters/uart/port.py",
)
CORE, ALL = "core: one protocol, one meter", "all"
CORE_MOST = 92_000  # bytes; 80,000 were asked for, before active sets and several registers
HEAP_MOST = 60_000  # what was asked for
ROUNDS = 60  # a minute and a half; 500 with `hum-sim bench footprint --rounds 500`
ROUNDS_QUICK = 20
ROUNDS_GROUP = 4
STACK = 8  # rounds at the start of a run in which batches and masks come in for the first time
# Bytes that are keys and numbers beside the record "key": the table of P-256, and N.
KEPT = 1024 + 256
FLASH_BLOCK = 4096  # bytes
BLOCK_64 = 32  # bytes of a block of the port's heap
# A ROMFS that the agent comes from, as the port can have one. What follows imports agent.runtime
# first, as on a board.
MOUNT = """import sys, vfs
image = bytearray({size})
with open({image!r}, "rb") as file:
    file.readinto(image)
vfs.mount(vfs.VfsRom(image), "/rom")
sys.path[:] = ["/rom", ".frozen"]
"""
JOIN = """import agent.runtime, asyncio
from host_sim.bench.onboard.cohort import assemble
asyncio.run(assemble({!r}).run())
"""
ACCOUNT = """import agent.runtime
from host_sim.bench.onboard.footprint import main
main({!r})
"""
NOTES = (
    "bytecode is the same on all four: none of the agent's code is native; the core's meter is the S0 input",
    "blocks of flash: 4 KiB each, whole ones for a file and two for a folder; the manifest is not counted",
    "heap: measured on the 64-bit port, the bench's own code taken off, the MQTT client and a link added, without socket and TLS; for"
    " 32-bit words (h + b)/2, where b is bytecode, names, texts and keys; a 32-bit unix port had 2 % less than this says",
    "code in a ROMFS: measured: a real board joins with bytecode, texts and letters of names in an image that is not counted. It needs"
    " a firmware that is built with a ROMFS partition (MICROPY_HW_ROMFS_BYTES on rp2, a partition table of one's own on ESP32)",
    "frozen: computed from that: without tables of names and constants, too; it needs a firmware of one's own as well",
    "growth: a straight line through the heap after every round; a board collects before each figure",
)


def sizes(folder: Path) -> dict[str, dict[str, int]]:
    """Return bytes of .mpy by file, and blocks of flash, for each of the boards' architectures;
    `folder` is for the files.

    Raises CompileError."""
    figures = {}
    for name in ARCHITECTURES:
        built = compile_agent(folder / name, architecture=name)
        figures[name] = parts(built) | {"blocks of flash": blocks(built)}
        core = compile_agent(folder / f"{name}-core", architecture=name, without=NOT_CORE)
        figures[name][CORE] = parts(core)[ALL]
    return figures


def parts(firmware: Path) -> dict[str, int]:
    """Return the bytes of the .mpy files of the agent in the folder `firmware`, by path, and of
    all."""
    agent = firmware / "agent"
    figures = {
        str(path.relative_to(agent).with_suffix("")): path.stat().st_size for path in sorted(agent.rglob("*.mpy"))
    }
    return figures | {ALL: sum(figures.values())}


def blocks(firmware: Path) -> int:
    """Return the blocks of flash that the version in the folder `firmware` takes: whole ones for
    files, two for a folder."""
    files = list((firmware / "agent").rglob("*.mpy"))
    return sum(-(-path.stat().st_size // FLASH_BLOCK) for path in files) + 2 * len(
        {path.parent for path in files} | {firmware / "agent"}
    )


def heap(firmware: Path, say: Callable[[str], None], members: int = GROUP) -> dict[str, Any]:
    """Return what is live after joining, with code on the heap and in a ROMFS. Raises BoardLost."""
    figures: dict[str, Any] = {}
    group = Group(members, SLOTS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        image = romfs.pack(firmware, folder / "image")
        for where in (None, image):
            flash = Path(tempfile.mkdtemp(dir=folder))
            live, modules, data = _join(firmware, flash, group, where, say)
            contents = [mpy_file.read(path) for path in _files(firmware, modules)]
            aside, names = inventory(firmware, modules, where)
            live += aside["link"] - aside["bench"]
            if not where:
                figures |= words.stock(live, contents, names, data, aside["loaded"])
                continue
            live -= -(-where.stat().st_size // BLOCK_64) * BLOCK_64
            strings = sum(len(name) + 1 for name in modules)  # made by the imports
            figures |= words.in_rom(live, contents, names["n_qstr"], strings, data)
    return figures | {"most": HEAP_MOST}


def _join(
    firmware: Path, folder: Path, group: Group, image: Path | None, say: Callable[[str], None]
) -> tuple[int, list[str], int]:
    """Let a board join; return what is live, the modules that are loaded, and the bytes of its
    keys."""
    board = _board(firmware, folder, group, BATCHES, image)
    try:
        street = Street(group, board, True, say)
        say("keys, shares, masks")
        street.set_up()
        joined = report(board, [], b"collect")
    finally:
        board.stop()
    return joined["live"], joined["modules"], (folder / "flash/key").stat().st_size + KEPT


def _files(firmware: Path, modules: list[str]) -> list[Path]:
    """Return the files of the modules; packages without code of their own have none."""
    paths = [firmware / name.replace(".", "/") for name in modules]
    return [file for path in paths for file in (path.with_suffix(".mpy"), path / "__init__.mpy") if file.exists()]


def inventory(firmware: Path, modules: list[str], image: Path | None) -> tuple[dict[str, int], dict[str, int]]:
    """Return what of the modules, a link and the bench's own the heap holds, and MicroPython's
    account of its names."""
    command = [*_micropython(), "-m", "host_sim.bench.onboard.footprint", *modules]
    if image:
        command = [*_micropython(), "-c", _mount(image) + ACCOUNT.format(modules)]
    run = subprocess.run(
        command, cwd=image.parent if image else firmware, capture_output=True, text=True, check=True, timeout=120
    )
    account, figures = run.stdout.strip().splitlines()
    pairs = [pair.split("=") for pair in account.partition(": ")[2].split(", ")]
    return json.loads(figures), {name: int(value) for name, value in pairs}


def _micropython() -> list[str]:
    return [tool("micropython"), "-X", f"heapsize={HEAP}"]


def _mount(image: Path) -> str:
    return MOUNT.format(size=image.stat().st_size, image=str(image))


def rounds(firmware: Path, count: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the live heap in `count` rounds, every sum of which is checked. Raises BoardLost,
    WrongRound."""
    group = Group(ROUNDS_GROUP, SLOTS)
    live = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        board = _board(firmware, folder, group, MASKS_TARGET)
        try:
            street = Street(group, board, False, say, count)
            street.set_up()
            for number in range(count):
                street.round(number, set())
                live.append(report(board, [], b"collect")["live"])
                if not (number + 1) % 50:
                    say(f"round {number + 1} of {count}: {live[-1]} bytes live")
        finally:
            board.stop()
    marks = sorted({number for number in (10, 100, 250, 500, count) if number <= count})
    figures: dict[str, Any] = {f"after round {number}, B": live[number - 1] for number in marks}
    figures |= {"rounds": count, "members": ROUNDS_GROUP, "resets": street.resets}
    figures["growth by least squares, B a round"] = round(slope(live[STACK:]), 2)
    return figures


def slope(values: list[int]) -> float:
    """Return the slope of the straight line that is nearest to equally spaced `values`, two or
    more."""
    middle, mean = (len(values) - 1) / 2, sum(values) / len(values)
    spread = sum((at - middle) ** 2 for at in range(len(values)))
    return sum((at - middle) * (value - mean) for at, value in enumerate(values)) / spread


def _board(firmware: Path, folder: Path, group: Group, masks: int, image: Path | None = None) -> BoardProcess:
    settings = group.settings(flash=str(folder / "flash"), masks_target=masks)
    path = folder / "board.json"
    path.write_text(json.dumps(settings))
    start = ["-m", "host_sim.bench.onboard.cohort", str(path)]
    if image:
        start = ["-c", _mount(image) + JOIN.format(str(path))]
    return BoardProcess([*_micropython(), *start], folder if image else firmware, folder / "errors")


def show(figures: dict[str, Any]) -> None:
    """Print what measure() returned as tables on standard output."""
    show_figures("The agent's .mpy files, bytes", figures["sizes"])
    show_figures(f"Live heap after joining a group of {GROUP}, bytes", {"": figures["heap"]})
    show_figures("Live heap in a run, 64-bit port", {"": figures["rounds"]}, NOTES)


def measure(count: int, say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Return all of the footprint: "sizes", "heap" and, over `count` rounds, "rounds"."""
    accelerate.use_host_libraries()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        say("sizes")
        figures: dict[str, dict[str, Any]] = {"sizes": sizes(folder)}
        firmware = compile_boards(folder / "firmware")
        figures["heap"] = heap(firmware, say)
        figures["rounds"] = rounds(firmware, count, say)
    return figures
