"""`hum-sim bench threshold` and the paper's method that it compares with: right sums, all figures
there, errors in one line."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from gmpy2 import powmod

from agent.joye_libert import cohorts, parameters
from host_sim.bench.threshold import compare as bench_threshold
from host_sim.bench.threshold import paper_method, verifiable
from host_sim.bench.threshold import server as threshold_server
from host_sim.bench.threshold.inputs import BenchError, HumInputs, Setting, evaluate, pack, powers_of, unpack
from host_sim.bench.threshold.paper_inputs import PaperInputs
from host_sim.cli import main
from tests.support.called import called

CLIENT = {"setup_keys", "setup_shares", "masks_ahead", "blinding_ahead", "online", "answer"}


def quiet(phase):
    """Say nothing of the phases."""


def command(*arguments):
    code = "from host_sim.cli import main; main()"
    run = [sys.executable, "-W", "error", "-c", code, "bench", "threshold", *arguments]
    return subprocess.run(run, capture_output=True, text=True, check=False, timeout=250)


def test_the_command_prints_all_figures_as_one_json_object():
    run = command("--clients", "12", "--dimension", "3", "--failures", "0.2", "--scale", "1", "--json")
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout)
    assert figures["exact"] is True
    assert figures["blinding"] == "summed shares"
    assert (figures["clients"], figures["failed"], figures["dimension"], figures["bits"]) == (12, 2, 3, 1024)
    assert set(figures["client_ms"]["hum"]) == CLIENT
    assert set(figures["bytes"]["hum"]) == CLIENT - {"setup_keys", "masks_ahead"}
    assert set(figures["server_ms"]["paper"]) == {"blinding", "share_combine", "aggregate", "total"}
    assert {"ahead", "product", "blinding", "recovery_and_opening", "total"} <= set(figures["server_ms"]["hum"])
    assert set(figures["ratio"]) == {"server", "server_with_ahead", "client_online"}
    assert all(value > 0 for value in figures["ratio"].values())
    assert any("scaled" in note for note in figures["notes"])


def test_a_table_for_readers_names_both_methods():
    run = command("--clients", "6", "--dimension", "3", "--failures", "0.16", "--scale", "1")
    assert run.returncode == 0, run.stderr
    assert "share_combine" in run.stdout
    assert "every sum was exact" in run.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--bits", "512"], "hum-sim: --bits 512: 1024 or 2048"),
        (["--cohort", "3"], "hum-sim: --cohort 3: 4 or more, or 0"),
        (["--clients", "12", "--failures", "0.33"], "hum-sim: bench threshold: 4 failed of a cohort of 12 leave"),
    ],
)
def test_a_useless_option_is_one_line_on_standard_error(arguments, reason, tmp_path):
    run = called(main, "hum-sim", tmp_path, "bench", "threshold", *arguments)
    assert run.returncode == 1
    assert run.stdout == ""
    assert len(run.stderr.strip().splitlines()) == 1
    assert run.stderr.startswith(reason)


@pytest.mark.parametrize(
    ("clients", "dimension", "failures", "cohort", "blinding", "workers"),
    [
        (14, 250, 0.2, 0, "seeds", 2),  # one cohort, a wide vector, two processes
        (40, 2, 0.1, 8, "summed shares", 1),  # five cohorts, neighbours on a ring
        (20, 200, 0.0, 10, "seeds", 1),  # nobody failed: nothing to recover
    ],
)
def test_both_methods_give_the_true_sums(clients, dimension, failures, cohort, blinding, workers):
    setting = Setting(clients, dimension, failures, 1024, cohort)
    figures = bench_threshold.measure(setting, workers, 2, quiet)
    assert figures["exact"]
    assert figures["blinding"] == blinding
    assert figures["failed"] == round(failures * clients)


def test_a_wrong_sum_is_not_reported_as_exact():
    setting = Setting(6, 2, 0.0, 1024, 0)
    setting.sums[0] += 1
    with pytest.raises(BenchError, match="not the true sum"):
        bench_threshold.measure(setting, 1, 1, quiet)


def test_the_paper_s_server_refuses_a_sum_that_is_not_true():
    setting = Setting(6, 2, 0.17, 1024, 0)
    hum = HumInputs(setting, quiet)
    paper = PaperInputs(setting, 1, hum.base, quiet)
    setting.sums[0] += 1
    with pytest.raises(BenchError, match="the paper's sum"):
        threshold_server.paper_server(setting, paper, 1)


def test_the_paper_s_encryption_step_opens_with_shares_of_the_seed():
    chosen = parameters.load("paper-1024", for_comparison=True)
    base, clients, threshold = 12345, 7, 5
    channels = [bytes([at]) * 32 for at in range(clients - 1)]
    ciphertexts, sealed = paper_method.encrypt([7, 8], 64, [base, base], -99, channels, threshold, chosen.n)
    assert [len(text) for text in sealed] == [12 + 21 + 16] * (clients - 1)
    shares = [int.from_bytes(open_share(key, text)[4:], "big") for key, text in zip(channels, sealed, strict=True)]
    seed = paper_method.reconstruct_seed(shares, paper_method.lambdas(list(range(2, clients + 1))))
    blinds = paper_method.pseudo_random(seed, 2, 64)
    unmasked = [text * powmod(base, 99, chosen.n**2) % chosen.n**2 for text in ciphertexts]
    assert [(int(value) // chosen.n - blind) % 2**64 for value, blind in zip(unmasked, blinds, strict=True)] == [7, 8]


def open_share(key, text):
    from Crypto.Cipher import AES

    return AES.new(key, AES.MODE_GCM, nonce=text[:12]).decrypt_and_verify(text[12:-16], text[-16:])


def test_the_inputs_failures_are_spread_evenly_and_leave_every_threshold():
    setting = Setting(100, 1, 0.3, 1024, 20)
    for members in setting.cohorts:
        assert sum(index in setting.failed for index in members) == 6
        assert len(members) - 6 >= cohorts.threshold(len(members))


def test_packed_values_come_back_and_fast_powers_are_powers():
    values = list(range(23))
    assert unpack(pack(values, 9, 5), 9, 5, 23) == values
    power = powers_of(3, 40, 10**9 + 7)
    for exponent in [0, 1, 2**40 - 1, -5, random.Random(0).getrandbits(40)]:
        assert power(exponent) == pow(3, exponent, 10**9 + 7)
    with pytest.raises(BenchError, match="wider"):
        power(2**60)
    assert evaluate([1, 2, 3], 10) == 321


def test_what_verifiable_shares_would_cost_follows_from_the_sizes_that_shares_have() -> None:
    figures = verifiable.measure((8, 32))
    small, large = figures["cohort of 8"], figures["cohort of 32"]
    assert small.keys() == large.keys() and all(small[key] <= large[key] for key in small)
    # A mask: an exponent of 4,101 bits, four squarings and a product in 80 ms, a window of five bits.
    assert small["today, a round: mask, s"] == pytest.approx(4101 * 6 / 5 * 0.016, rel=0.01)
    assert large["Chaum-Pedersen, a set: published, bytes"] == 22 * 512
    assert large["Pedersen, a round: read, bytes"] == 31 * 22 * 33
    member = 31 * large["today, a round with missing: recovery share, s"]
    assert member < large["Chaum-Pedersen, a set: check all shares, s"] < 1.2 * member


def test_the_figures_of_verifiable_shares_in_the_docs_are_those_that_are_computed() -> None:
    page = (Path(__file__).parents[2] / "docs/security/verifiable-shares.md").read_text()
    figures = verifiable.measure()
    for key in figures["cohort of 8"]:
        cells = " | ".join(f"{figures[size][key]:,.0f}" for size in figures)
        assert f"| {key} | {cells} |" in page, key
