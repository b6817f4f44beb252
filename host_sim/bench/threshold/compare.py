"""`hum-sim bench threshold`: one round with failed clients, Hum's arithmetic and the paper's in the
same run, on the same values.

Every sum is checked against the true one. What is measured on fewer blocks and scaled is said in
the result's notes.
"""

from collections.abc import Callable
from typing import Any

from agent.crypto import accelerate
from agent.joye_libert import masks
from broker.cli.tables import show_notes, show_table, wrapped
from host_sim.bench.threshold.client import SAMPLE, Figures, hum_client, paper_client
from host_sim.bench.threshold.inputs import ROUND, HumInputs, Setting
from host_sim.bench.threshold.paper_inputs import PaperInputs
from host_sim.bench.threshold.server import hum_server, paper_server

COLUMNS = ("method", "phase", "figure")
CCM_OVERHEAD, GCM_OVERHEAD = 16, 28


def _bytes(setting: Setting, hum: HumInputs, paper: PaperInputs) -> dict[str, dict[str, int]]:
    """Return the bytes that a client sends, by phase: payloads and their tags, without envelopes
    and topics."""
    residue = setting.parameters.residue_bytes
    size = max(len(members) for members in setting.cohorts)
    online = max(sum(index not in setting.failed for index in members) for members in setting.cohorts)
    shared = hum.field.size * (1 if setting.wide else setting.blocks)
    answer = residue * setting.blocks if setting.failed else 0
    zero = residue * setting.paper_blocks if setting.failed else 0
    return {
        "hum": {
            "setup_shares": (size - 1) * (max(sharing.share_bytes for sharing in hum.sharings) + CCM_OVERHEAD),
            "blinding_ahead": (size - 1) * (shared + CCM_OVERHEAD),
            "online": residue * setting.blocks,
            "answer": answer + (online * hum.field.size if setting.wide else shared),
        },
        "paper": {
            "setup_shares": (setting.clients - 1) * (paper.share_bytes + GCM_OVERHEAD + 4),
            "encryption": residue * setting.paper_blocks + (setting.clients - 1) * (GCM_OVERHEAD + 21),
            "answer": zero + len(setting.online) * 17,
        },
    }


def _rounded(figures: Figures) -> Figures:
    return {name: round(value, 3) for name, value in figures.items()}


def _notes(setting: Setting, blocks: int, workers: int) -> list[str]:
    sample = min(SAMPLE, setting.blocks)
    return [
        "secrets of pairs are hashes of a run-local secret, not ECDH; setup_keys counts one real ECDH and key for each",
        "the base of a block is the square of the one before: only the making of the inputs gains by it",
        "Hum opens with t answers of each cohort, those at the lowest positions; the running coordinator does not wait for these but"
        " opens with the first t that come, which takes up to twice as long for 300 clients in one cohort (real ones have 64);"
        " the paper's server combines those of all online clients, as printed",
        f"failed clients are spread evenly over {len(setting.cohorts)} cohort(s)",
        f"masks_ahead, answer and ahead are measured on {sample} of {setting.blocks} blocks and scaled",
        f"the paper's method is measured on {blocks} of its {setting.paper_blocks} blocks and scaled",
        "bytes are payloads with their tags, without envelopes",
        f"recovery by Hum in {workers} process(es), all else in one",
    ]


def measure(setting: Setting, workers: int, scale: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the figures of one round, in milliseconds and bytes. Raises BenchError if a sum is not
    the true one.

    `scale` is the number of blocks on which the paper's method is measured, 0 for all; `say` is
    told of each phase.
    """
    accelerate.use_host_libraries()
    hum = HumInputs(setting, say)
    blocks = min(scale or setting.paper_blocks, setting.paper_blocks)
    paper = PaperInputs(setting, blocks, hum.base, say)
    say("Hum: client")
    hum_times = hum_client(setting, hum)
    say("paper: client")
    scope = (setting.parameters, "bench", "main", 1)
    pairs = [masks.base(*scope, ROUND, number, setting.digest) for number in range(blocks)]
    paper_times = paper_client(setting, paper, [x0 + setting.n * x1 for x0, x1 in pairs])
    say("Hum: server")
    hum_sum = hum_server(setting, hum, workers)
    say("paper: server")
    paper_sum = paper_server(setting, paper, blocks)
    return {
        "clients": setting.clients,
        "failed": len(setting.failed),
        "dimension": setting.dimension,
        "bits": setting.parameters.bits,
        "cohorts": len(setting.cohorts),
        "blinding": "seeds" if setting.wide else "summed shares",
        "element_bits": setting.width,
        "blocks": {"hum": setting.blocks, "paper": setting.paper_blocks},
        "client_ms": {"hum": _rounded(hum_times), "paper": _rounded(paper_times)},
        "server_ms": {"hum": _rounded(hum_sum), "paper": _rounded(paper_sum)},
        "bytes": _bytes(setting, hum, paper),
        "ratio": {
            "server": round(paper_sum["total"] / hum_sum["total"], 2),
            "server_with_ahead": round(paper_sum["total"] / (hum_sum["total"] + hum_sum["ahead"]), 2),
            "client_online": round(paper_times["encryption"] / hum_times["online"], 1),
        },
        "exact": True,
        "notes": _notes(setting, blocks, workers),
    }


def show(figures: dict[str, Any]) -> None:
    """Print what measure() returned as tables on standard output."""
    for part, title in (("client_ms", "Client, ms"), ("server_ms", "Server, ms"), ("bytes", "A client sends, bytes")):
        rows = [(method, phase, value) for method, phases in figures[part].items() for phase, value in phases.items()]
        show_table(title, COLUMNS, [dict(zip(COLUMNS, row, strict=True)) for row in rows], keys=2)
    ratio = figures["ratio"]
    ratios = f"server {ratio['server']}, client online {ratio['client_online']}"
    print(wrapped(f"paper to Hum: {ratios}; every sum was exact"))
    show_notes(figures["notes"])
