"""What a board sends, holds and computes in cohorts of 8 to 64: the cohort part of `make bench`.

A real board on MicroPython (host_sim/bench/onboard/cohort.py) joins a group, shares with its
cohort, and takes part in two rounds: one in which nobody is missing, and one in which as many are
as the threshold allows. Then there is a new active set, and a round in it. Every sum is checked.
Bytes are MQTT PUBLISH packets with topic, header and payload as on the wire, each counted once,
without the acknowledgements of MQTT and TCP.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agent.crypto import accelerate
from agent.joye_libert import blinding, cohorts, parameters
from agent.wire import topics
from broker.cli.tables import show_figures
from broker.coordinator.protocols.private_sum.sets import cost
from firmware.build.compile import tool
from host_sim.bench.cohort_street import Street
from host_sim.bench.group import DEPLOYMENT, GROUP, SLOTS, Group
from host_sim.bench.peers import BATCHES, BoardProcess, report
from host_sim.fleet.programs import compile_boards

SIZES = (8, 16, 32, 64)
HEAP = "400k"  # for measuring
SMALL_HEAP = "192k"
SMALL_HEAP_SIZES = (32,)
BLOCK = 4096  # bytes of flash, the least that a file of littlefs takes unless it is tiny
MASKS_TARGET = 8  # a board's own: it announces itself once for three quarters of them
TITLE = "Board in a cohort, by its size; everything but milliseconds is for any board"
PAPER_TITLE = "Beside it: data transfer per client in the threshold Joye-Libert paper (table 5, appendix C), in its kB"
# clients, failed -> registration and key setup; encryption and aggregation. Their m = 10,000 values
# a client, N of 1024 bits.
PAPER = {
    "100, 0 %": {"set-up sent": 32.97, "set-up received": 45.73, "round sent": 64.43, "round received": 5.46},
    "100, 30 %": {"set-up sent": 32.97, "set-up received": 45.73, "round sent": 121.27, "round received": 3.81},
    "300, 0 %": {"set-up sent": 136.08, "set-up received": 174.62, "round sent": 84.86, "round received": 16.5},
    "300, 30 %": {"set-up sent": 136.08, "set-up received": 174.62, "round sent": 146.09, "round received": 11.53},
}
NOTES = (
    "the paper's settings differ: 10,000 values of 16 bits a client, N of 1024 bits, one cohort of all; we added its columns up."
    " A board of Hum sends one ciphertext a round, which holds up to 2048 bits (column 'wide': 40 slots of 40 bits)",
    "bytes: MQTT PUBLISH packets with topic and header, each once; without acknowledgements, presence and diagnostics",
    "total a round = the round itself + a batch of blinding shared out over its rounds + 'ready' shared out over 6 rounds",
    "some missing: as many as the threshold allows, silent without warning: recovery is made when the roll is called",
    "heap: live bytes after a collection on the 64-bit port, the bench's own code included, the socket's part of the MQTT client not."
    " A 32-bit port takes half of what is pointers and all of what is bytes: between half and all of the figure",
    "heap most in a round: the signature of a receipt is checked and masks are made in it; seen between steps, not inside them",
    "flash: with two rounds' masks and two batches of everybody's blinding; a mask more is a record of 520 bytes; blocks of 4096"
    " bytes if each file takes whole ones",
    "a set: all that a new active set of the whole cohort makes the board send, receive and write, two masks included; as told: what"
    " hum coordinator status says; seconds of an RP2040 are computed: a signature, keys, key shares, a batch, a mask",
    "milliseconds: MicroPython on this machine, sliced work without the flash's; key shares and batches are for all the cohort",
)


def _flash(folder: Path) -> dict[str, int]:
    sizes = [path.stat().st_size for path in folder.iterdir()]
    return {"records": len(sizes), "bytes": sum(sizes), "blocks": sum(-(-size // BLOCK) for size in sizes)}


def measure(
    firmware: Path, size: int, slots: list[tuple[str, int, int]], say: Callable[[str], None], heap: str = HEAP
) -> dict[str, Any]:
    """Return the figures of one cohort of `size`; `firmware` is a folder with the compiled agent.
    Raises BoardLost, WrongRound.

    The heap is watched only if it is HEAP: watching tidies it up.
    """
    accelerate.use_host_libraries()
    group = Group(size, slots)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        flash = folder / "flash"
        (folder / "board.json").write_text(json.dumps(group.settings(flash=str(flash), masks_target=BATCHES)))
        command = [tool("micropython"), "-X", f"heapsize={heap}", "-m", "host_sim.bench.onboard.cohort"]
        board = BoardProcess([*command, str(folder / "board.json")], firmware, folder / "errors")
        try:
            street = Street(group, board, heap == HEAP, say, 3)
            say("keys, shares, masks")
            joined = street.set_up()
            held = _flash(flash)
            say("a round with all")
            calm = street.round(0, set())
            threshold = cohorts.threshold(size)
            say("a round with members missing")
            hard = street.round(1, set(group.names[threshold:]))
            say("a new set, and a round in it")
            before = report(board, [], b"plain")
            renewed = street.renew()
            street.round(2, set())
        finally:
            board.stop()
    figures = _figures(street, joined, calm, hard, held, size - threshold)
    return figures | _of_set(street, before, renewed)


def measure_all(sizes: Sequence[int], say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Return measure()'s figures by size of the cohort. Raises BoardLost, WrongRound."""
    with tempfile.TemporaryDirectory() as temporary:
        firmware = compile_boards(Path(temporary))
        return {str(size): measure(firmware, size, SLOTS, say) for size in sizes}


def _figures(
    street: Street,
    joined: dict[str, Any],
    calm: dict[str, Any],
    hard: dict[str, Any],
    held: dict[str, int],
    missing: int,
) -> dict[str, Any]:
    totals, batch = street.bytes.totals, street.field.batch
    announced = MASKS_TARGET - MASKS_TARGET // 4
    figures: dict[str, Any] = {"members": len(street.group.names), "threshold": len(street.group.names) - missing}
    figures |= {"missing": missing, "blinding bits": street.field.bits, "rounds a batch": batch}
    for direction in ("sent", "received"):
        first = f"of set {street.numbers[0]} {direction}"
        setup = totals[f"setup {direction}"] + totals[f"set {street.numbers[0]} {direction}"]
        dealt = totals[f"batch 1 {first}"]
        share = dealt / batch
        ready = totals.get(f"ready {first}", 0) / street.bytes.messages.get(f"ready {first}", 1) / announced
        figures |= {
            f"set-up {direction}, B": setup,
            f"batch {direction}, B": dealt,
            f"batch {direction} a round, B": round(share, 1),
        }
        for name, number in (("", 0), (", some missing", 1)):
            itself = totals[f"round {number} {direction}"]
            figures[f"round {direction}{name}, B"] = itself
            figures[f"total {direction} a round{name}, B"] = round(itself + share + ready)
    work = {name: spent / 1000 for name, (_, spent) in joined["work"].items()}
    times = {name: count for name, (count, _) in joined["work"].items()}
    figures |= {
        "heap joined, B": joined["live"],
        "heap most in a round, B": calm["most"],
        "heap most, some missing, B": hard["most"],
        "flash records": held["records"],
        "flash bytes": held["bytes"],
        "flash blocks of 4096": held["blocks"],
        "keys, ms": round(work["secrets"] + work["key"]),
        "key shares, ms": round(work["key-share"]),
        "a batch of blinding, ms": round(work["batch"] / times["batch"] * (len(street.group.names) - 1)),
        "a mask, ms": round(work["mask"] / times["mask"]),
        "contribution, ms": round(calm["online_us"] / 1000, 2),
        "answer, ms": round(calm["work"]["answer"][1] / 1000, 2),
        "answer, some missing, ms": round(hard["work"]["answer"][1] / 1000, 2),
        "resets": street.resets,
        "refused": {name: count for name, count in hard["refused"].items() if name != "link-lost"},
    }
    return figures


def _of_set(street: Street, before: dict[str, Any], renewed: dict[str, Any]) -> dict[str, Any]:
    """Return what the second set has cost the board, of which these are the reports before it and
    after it."""
    totals, number = street.bytes.totals, street.numbers[1]
    told = of_set(len(street.group.names), street.field)
    work = {name: spent / 1000 / times for name, (times, spent) in renewed["work"].items()}
    figures: dict[str, Any] = {}
    for direction in ("sent", "received"):
        parts = {name: size for name, size in totals.items() if name.endswith(f"set {number} {direction}")}
        figures[f"a set: key shares {direction}, B"] = parts[f"set {number} {direction}"]
        figures[f"a set: batches {direction}, B"] = sum(
            size for name, size in parts.items() if name.startswith("batch")
        )
        figures[f"a set: all {direction}, B"] = sum(parts.values())
    others = len(street.group.names) - 1
    return figures | {
        "a set: all sent, as told, B": told.bytes,
        "a set: records written": renewed["puts"] - before["puts"],
        "a set: bytes written": renewed["written"] - before["written"],
        "a set: bytes written, as told": told.flash_bytes,
        "a set: signature, ms": round(work["set"], 1),
        "a set: its keys, ms": round(work["key"], 1),
        "a set: key shares, ms": round(work["key-share"] * others, 1),
        "a set: a batch, ms": round(work["batch"] * others, 1),
        "a set: a mask, ms": round(work["mask"]),
        "a set: RP2040 until the first mask, s": told.seconds,
        "a set: of it for the mask, s": told.mask_seconds,
    }


def of_set(size: int, field: blinding.Field) -> cost.Cost:
    """Return what `hum coordinator status` tells that a new set costs each board of such a
    cohort."""
    topic = topics.mail(DEPLOYMENT, GROUP, "b000", "b001")
    return cost.of_cohort(size, len(topic), parameters.load("hum-2048"), field)


def show(figures: dict[str, dict[str, Any]]) -> None:
    """Print measure()'s figures, by case, as a table."""
    show_figures(TITLE, figures, NOTES)
