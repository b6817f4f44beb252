"""`make bench`: where the time and the bytes go. Every ratio is against a baseline of the same run.

`python -m host_sim.bench [--quick] [--json]`; --quick leaves out the fleet of 12 boards, all
cohorts but the smallest, and the comparison with the threshold Joye-Libert paper (minutes).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.crypto import accelerate
from agent.joye_libert import masks, parameters
from broker.cli.tables import show_figures
from broker.coordinator.protocols.private_sum.arithmetic import aggregation
from firmware.build.compile import ROOT, tool
from host_sim import ending
from host_sim.bench import cohort as bench_cohort
from host_sim.bench import consistency_check
from host_sim.bench import coordinator as bench_coordinator
from host_sim.bench import footprint as bench_footprint
from host_sim.bench import overlay as bench_overlay
from host_sim.bench import query as bench_query
from host_sim.bench.cohort_street import WrongRound
from host_sim.bench.group import SLOTS, WIDE, Group
from host_sim.bench.peers import BoardLost
from host_sim.bench.threshold import compare as bench_threshold
from host_sim.bench.threshold.inputs import HumInputs, Setting
from host_sim.bench.threshold.server import hum_server
from host_sim.data import households
from host_sim.demo.demo import Demo, Row
from host_sim.fleet.programs import compile_boards
from host_sim.gossip import suitable_sizes

HEAP = "160k"
# The interpreter's own pow needs room that a board does not have beside the machine.
HEAP_FOR_POW = "200k"
PAPER_BLOCKS = 2  # on which the paper's method is measured, and then scaled to all
# Clients, values of 16 bits, part of the clients that fail, bits of N, cohort (0: all in one).
CASES = {
    "100 clients, 10,000 values, 30 % failed, N 1024": (100, 10_000, 0.3, 1024, 0),
    "300 clients, 1 value, 10 % failed, N 1024": (300, 1, 0.1, 1024, 0),
}
STREETS = "600 clients in cohorts of 32, 1 value, 10 % failed, N 2048"


def board(folder: Path, members: int) -> dict[str, dict[str, Any]]:
    """Return the board's figures on MicroPython (from .mpy, capped heap) and on CPython."""
    compile_boards(folder)
    settings = folder / "board.json"
    settings.write_text(json.dumps(Group(members, SLOTS).settings()))
    runs = {
        "micropython": ([tool("micropython"), "-X", f"heapsize={HEAP_FOR_POW}"], folder),
        "cpython": ([sys.executable], ROOT),
    }
    figures = {}
    for name, (command, cwd) in runs.items():
        arguments = [*command, "-m", "host_sim.bench.onboard.masks", str(settings)]
        run = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
        if run.returncode:
            raise SystemExit(f"bench: the board's part failed on {name}: {run.stderr.strip().splitlines()[-1:]}")
        figures[name] = json.loads(run.stdout)
    return figures


def _best(function: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        function()
        times.append((time.perf_counter() - start) * 1000)
    return min(times)


def coordinator(members: int) -> dict[str, Any]:
    """Return the coordinator's arithmetic for one round of `members`, with gmpy2 and with Python's
    own integers."""
    chosen = parameters.load("hum-2048")
    modulus = chosen.n**2
    exponent = int.from_bytes(os.urandom(chosen.residue_bytes), "big")
    ciphertexts = [os.urandom(chosen.residue_bytes - 1) for _ in range(members)]
    scope, digest = ("bench", "main", 1), bytes(32)
    base_pair = masks.base(chosen, *scope, 0, 0, digest)
    base = base_pair[0] + chosen.n * base_pair[1]

    def product() -> None:
        aggregation.product(chosen, 1, ciphertexts)

    def with_pow() -> int:
        return int(pow(pow(base, exponent, modulus), -1, modulus))

    ahead = _best(lambda: aggregation.unmask_factor(chosen, scope, 0, exponent, digest))
    baseline = _best(with_pow)
    return {
        "members": members,
        "ahead_ms": round(ahead, 2),
        "ahead_by_pow_ms": round(baseline, 2),
        "ahead_to_pow": round(ahead / baseline, 3),
        "online_ms": round(_best(product), 2),
    }


def fleet(folder: Path, boards: int, rounds: int) -> dict[str, Any]:
    """Return what a fleet of MicroPython boards on a real broker shows."""
    rows: list[Row] = []
    options = {"rounds": rounds, "interval": 3.0, "window": 30.0, "runtime": "micropython", "heap": HEAP}
    data = households.load(households.DEFAULT, boards)

    async def run() -> bool:
        demo = Demo(folder, data, {**options, "masks_target": rounds}, rows.append, _say)
        return await demo.run()

    exact = ending.run(run)
    latencies = [row.latency_ms for row in rows if row.latency_ms is not None]
    online = [row.online_ms for row in rows if row.online_ms is not None]
    sent = [row.bytes_per_board for row in rows if row.bytes_per_board is not None]
    return {
        "boards": boards,
        "rounds": rounds,
        "exact": exact,
        "latency_ms_median": round(statistics.median(latencies), 1),
        "latency_ms_max": max(latencies),
        "online_ms_median": round(statistics.median(online), 2),
        "bytes_per_board_median": statistics.median(sent),
        "bytes_per_board_max": max(sent),
    }


def cohort_sizes(firmware: Path, sizes: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Return what bench_cohort.measure() returns for each size, and for the widest readings where
    there is more than one size."""
    cases = {str(size): (size, SLOTS) for size in sizes}
    if len(sizes) > 1:
        cases["32, wide"] = (32, WIDE)
    figures = {}
    for name, (size, slots) in cases.items():
        figures[name] = bench_cohort.measure(firmware, size, slots, _phase(f"cohort of {name}"))
    for size in bench_cohort.SMALL_HEAP_SIZES if len(sizes) > 1 else ():
        key, heap = f"through at {bench_cohort.SMALL_HEAP}", bench_cohort.SMALL_HEAP
        try:
            small = bench_cohort.measure(firmware, size, SLOTS, _phase(f"cohort of {size}, heap {heap}"), heap)
            figures[str(size)][key] = f"yes, {small['resets']} resets, {small['refused'].get('memory', 0)} retries"
        except (BoardLost, WrongRound) as error:
            figures[str(size)][key] = f"no: {error}"
    return figures


def threshold() -> dict[str, dict[str, Any]]:
    """Return what bench_threshold.measure() returns for each case, and Hum's part for 600 clients:
    the paper's would take minutes."""
    accelerate.use_host_libraries()
    figures = {
        name: bench_threshold.measure(Setting(*case), 1, PAPER_BLOCKS, _phase(name)) for name, case in CASES.items()
    }
    setting = Setting(600, 1, 0.1, 2048, 32)
    inputs = HumInputs(setting, _phase(STREETS))
    runs = [hum_server(setting, inputs, 1) for _ in range(3)]
    server = min(runs, key=lambda run: run["total"])
    figures[STREETS] = {"server_ms": {"hum": {name: round(ms, 3) for name, ms in server.items()}}, "notes": []}
    return figures


def _threshold_rows(figures: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the totals and ratios of threshold() as columns for show_figures()."""
    columns = {}
    for name, case in figures.items():
        columns[name] = {"server: Hum, ms": case["server_ms"]["hum"]["total"]}
        if "ratio" in case:
            columns[name] |= {
                "server: paper, ms": case["server_ms"]["paper"]["total"],
                "server: paper to Hum": case["ratio"]["server"],
                "client online: Hum, ms": case["client_ms"]["hum"]["online"],
                "client Encryption: paper, ms": case["client_ms"]["paper"]["encryption"],
                "client: paper to Hum": case["ratio"]["client_online"],
            }
    return columns


def _say(phase: str, done: int, total: int) -> None:
    print(f"\r{phase} {done}/{total}   ", end="", file=sys.stderr, flush=True)


def _phase(name: str) -> Callable[[str], None]:
    return lambda phase: print(f"{name}: {phase}", file=sys.stderr, flush=True)


def _parts(folder: Path, quick: bool) -> Iterator[tuple[str, Any, Callable[[Any], None]]]:
    """Yield (name, figures, what shows them) of each measurement, when it is done."""

    def shown(title: str, notes: Sequence[str] = ()) -> Callable[[Any], None]:
        return lambda figures: show_figures(title, figures, list(notes))

    yield (
        "board",
        board(folder / "firmware", 12),
        shown("Board: keys and masks, 12 members (mask_to_pow: against the interpreter's pow)"),
    )
    accelerate.use_host_libraries()
    yield (
        "coordinator",
        {str(n): coordinator(n) for n in (12, 64)},
        shown("Coordinator: one round, members (ahead_to_pow: gmpy2 against Python's pow)"),
    )
    groups = bench_coordinator.GROUPS_QUICK if quick else bench_coordinator.GROUPS
    yield "receipts", bench_coordinator.measure(groups, _phase("receipts")), bench_coordinator.show
    count = bench_footprint.ROUNDS_QUICK if quick else bench_footprint.ROUNDS
    yield "footprint", bench_footprint.measure(count, _phase("footprint")), bench_footprint.show
    sizes = bench_cohort.SIZES[:1] if quick else bench_cohort.SIZES
    yield "cohorts", cohort_sizes(folder / "firmware", sizes), shown(bench_cohort.TITLE)
    yield "paper_table_5_kB", bench_cohort.PAPER, shown(bench_cohort.PAPER_TITLE, bench_cohort.NOTES)
    checked = consistency_check.SIZES_QUICK if quick else consistency_check.SIZES
    yield "audit", consistency_check.measure(checked, _phase("audit")), consistency_check.show
    yield "overlay", bench_overlay.measure(_phase("overlay")), bench_overlay.show
    cases = bench_query.CASES[:1] if quick else bench_query.CASES
    figures = bench_query.measure(folder / "firmware", cases, _phase("query"))
    yield "query", figures, shown("Board in a query, by members and failures tolerated", bench_query.NOTES)
    if not quick:
        yield from _long_parts(folder)


def _long_parts(folder: Path) -> Iterator[tuple[str, Any, Callable[[Any], None]]]:
    def show_threshold(figures: Any) -> None:
        notes = list(dict.fromkeys(note for case in figures.values() for note in case["notes"]))
        show_figures("Threshold Joye-Libert: Hum and the paper's method", _threshold_rows(figures), notes)

    yield "sizes", suitable_sizes.measure(suitable_sizes.MOST), suitable_sizes.show
    yield "threshold", threshold(), show_threshold
    fleets = {"12 boards": fleet(folder / "fleet", 12, 8)}
    yield "fleet", fleets, lambda rows: show_figures("Fleet: 12 MicroPython boards, heap 160k, real Mosquitto", rows)


def main() -> None:
    """Run all benchmarks."""
    parser = argparse.ArgumentParser(prog="make bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, figures, show in _parts(Path(temporary), options.quick):
            results[name] = figures
            if not options.json:
                show(figures)
    if options.json:
        print(json.dumps(results))
