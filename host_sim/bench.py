"""`make bench`: where the time and the bytes go. Every ratio is against a baseline of the same run.

`python -m host_sim.bench [--quick] [--json]`; --quick leaves out the fleet of 12 boards (two minutes).
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from agent.crypto import accelerate
from agent.joye_libert import masks, parameters
from broker.coordinator import aggregation
from host_sim import households
from host_sim.compiled import ROOT, compile_agent, tool
from host_sim.demo import Demo, Row

HEAP = "160k"


def board(folder: Path, members: int) -> dict[str, dict[str, Any]]:
    """Return the board's figures on MicroPython (from .mpy, capped heap) and on CPython."""
    compile_agent(folder)
    runs = {
        "micropython": ([tool("micropython"), "-X", f"heapsize={HEAP}"], folder),
        "cpython": ([sys.executable], ROOT),
    }
    figures = {}
    for name, (command, cwd) in runs.items():
        arguments = [*command, "-m", "host_sim.bench_board", str(members)]
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
    """Return the coordinator's arithmetic for one round of `members`, with gmpy2 and with Python's own integers."""
    chosen = parameters.load("hum-2048")
    modulus = chosen.n**2
    exponent = int.from_bytes(os.urandom(chosen.residue_bytes), "big")
    ciphertexts = [os.urandom(chosen.residue_bytes - 1) for _ in range(members)]
    place = ("bench", "main", 1)
    base_pair = masks.base(chosen, *place, 0, 0)
    base = base_pair[0] + chosen.n * base_pair[1]

    def product() -> None:
        try:
            aggregation.open_sum(chosen, 1, ciphertexts)
        except aggregation.WrongSum:
            return  # random ciphertexts open to nothing; the work is the same

    def with_pow() -> int:
        return int(pow(pow(base, exponent, modulus), -1, modulus))

    ahead = _best(lambda: aggregation.unmask_factor(chosen, place, 0, exponent))
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
    options = {"rounds": rounds, "interval": 1.0, "window": 30.0, "runtime": "micropython", "heap": HEAP}
    data = households.load(households.DEFAULT, boards)

    async def run() -> bool:
        demo = Demo(folder, data, {**options, "masks_target": rounds}, rows.append, _say)
        return await demo.run()

    exact = asyncio.run(run())
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


def _say(phase: str, done: int, total: int) -> None:
    print(f"\r{phase} {done}/{total}   ", end="", file=sys.stderr, flush=True)


def _show(title: str, figures: dict[str, dict[str, Any]]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    for name in figures:
        table.add_column(name, justify="right")
    columns = list(figures.values())
    for key in columns[-1] | columns[0]:  # the last first: CPython keeps the order of its keys
        table.add_row(key, *(str(column.get(key, "-")) for column in columns))
    Console().print(table)


def main() -> None:
    """Run all benchmarks."""
    parser = argparse.ArgumentParser(prog="make bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="without the fleet of 12 boards")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        results: dict[str, Any] = {"board": board(folder / "firmware", 12)}
        if not options.json:
            _show("Board: keys and masks for 12 members (mask_to_pow: against the interpreter's pow)", results["board"])
        accelerate.use_host_libraries()
        results["coordinator"] = {str(n): coordinator(n) for n in (12, 64)}
        if not options.json:
            _show("Coordinator: one round, members (ahead_to_pow: gmpy2 against Python's pow)", results["coordinator"])
        if not options.quick:
            results["fleet"] = {"12 boards": fleet(folder / "fleet", 12, 8)}
            if not options.json:
                _show("Fleet: 12 MicroPython boards, heap 160k, real Mosquitto", results["fleet"])
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
