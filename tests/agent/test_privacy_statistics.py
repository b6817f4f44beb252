"""Noise as statistics: its exact distributions, and the privacy that docs/operate/privacy.md
promises, each with power against a worse claim.

The bounds hold for any number of samples: Dvoretzky, Kiefer and Wolfowitz's with Massart's constant
for distribution functions, and Chernoff's for counts. ERROR is each test's chance to fail on true
noise, if keys were random; they come from fixed seeds. Other tests in this file have no chance to
fail but by a bug (the mean and variance after a crash: seven standard deviations).
"""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations

from agent.protocols.base.identity import Policy
from agent.protocols.gossip.privacy.laplace import BLOCKS_MOST, TERM_MOST, Bits, discrete_laplace, truncated_laplace
from agent.protocols.gossip.privacy.paired_noise import pair_noise, partners, reach_of, record_noise
from agent.protocols.gossip.privacy.terms import FOLDS, MILLION, Terms

ERROR = 2e-8  # for each comparison; there are fewer than 30
EVENTS = 1000  # more than are looked at, and than are frequent enough to count against anything
MEMBERS, NODES, START = 12, 13, 2


def laplace_pmf(scale: float, most: int, bound: int | None = None) -> dict[int, float]:
    """Return P(x) for |x| <= most, by the formula; `bound` cuts off and scales up."""
    p = math.exp(-1 / scale)
    total = (1 + p) / (1 - p) if bound is None else (1 + p - 2 * p ** (bound + 1)) / (1 - p)
    return {x: p ** abs(x) / total for x in range(-most, most + 1) if bound is None or abs(x) <= bound}


def difference_pmf(pmf: dict[int, float]) -> dict[int, float]:
    found: Counter[int] = Counter()
    for a, share in pmf.items():
        for b, other in pmf.items():
            found[a - b] += share * other  # type: ignore[assignment]
    return dict(found)


def divergence(share: float, bias: float) -> float:
    """Return the Kullback-Leibler divergence of two coins, in nats."""
    found = 0.0
    if share > 0:
        found += share * math.log(share / bias)
    if share < 1:
        found += (1 - share) * math.log((1 - share) / (1 - bias))
    return found


def fits(samples: list[int], pmf: dict[int, float]) -> bool:
    """Tell whether the samples are from `pmf`: their distribution function, and the count of each
    value that is expected often."""
    count = len(samples)
    counts = Counter(samples)
    if not set(counts) <= set(pmf):
        return False
    often = [x for x, share in pmf.items() if share * count >= 1]
    distance = seen = expected = 0.0
    for x in sorted(pmf):
        seen += counts[x] / count
        expected += pmf[x]
        distance = max(distance, abs(seen - expected))
    close = distance <= math.sqrt(math.log(4 / ERROR) / (2 * count))
    limit = math.log(4 * len(often) / ERROR)
    return close and all(count * divergence(counts[x] / count, pmf[x]) <= limit for x in often)


def is_private(outputs: list[tuple[bool, int]], epsilon: float) -> bool:
    """Tell whether outputs are compatible with P(S) <= exp(epsilon) P'(S), both ways, for every
    value and every half line S.

    An output is (which of the two databases, drawn by a fair coin; what came out). Given that an
    output is in S, its database is a coin of bias at most exp(epsilon) / (1 + exp(epsilon)): a
    binomial test that needs no approximation.
    """
    bias = math.exp(epsilon) / (1 + math.exp(epsilon))
    here = [Counter(value for side, value in outputs if side is which) for which in (False, True)]
    events: list[tuple[int, int]] = [(here[0][x], here[1][x]) for x in set(here[0]) | set(here[1])]
    lower = [0, 0]
    for x in sorted(set(here[0]) | set(here[1])):
        events.append((here[0].total() - lower[0], here[1].total() - lower[1]))
        lower = [lower[0] + here[0][x], lower[1] + here[1][x]]
        events.append((lower[0], lower[1]))
    assert len(events) < EVENTS
    limit = math.log(2 * EVENTS / ERROR)
    for pair in events:
        share = max(pair) / sum(pair)
        if share > bias and sum(pair) * divergence(share, bias) > limit:
            return False
    return True


def draws(count: int, name: str, sample: Callable[[Bits], int]) -> list[int]:
    source = random.Random(name)
    return [sample(Bits(source.randbytes(32))) for _ in range(count)]


def neighbours(count: int, name: str, run: Callable[[bool, random.Random], int]) -> list[tuple[bool, int]]:
    source = random.Random(name)
    found = []
    for _ in range(count):
        side = source.random() < 0.5
        found.append((side, run(side, source)))
    return found


# -- the sampler


def test_samples_have_the_exact_distribution() -> None:
    for numerator, denominator in ((1, 1), (5, 2), (12, 1)):
        samples = draws(12000, "plain", lambda bits, n=numerator, d=denominator: discrete_laplace(bits, n, d))  # type: ignore[misc]
        scale = numerator / denominator
        assert fits(samples, laplace_pmf(scale, 600))
        assert not fits(samples, laplace_pmf(scale * 1.2, 600))
        assert not fits([abs(x) for x in samples], laplace_pmf(scale, 600))


def test_truncated_samples_have_the_conditional_distribution() -> None:
    samples = draws(12000, "cut", lambda bits: truncated_laplace(bits, 3, 1, 12))
    assert fits(samples, laplace_pmf(3, 600, 12)) and not fits(samples, laplace_pmf(3.6, 600, 12))


def test_wide_samples_have_the_continuous_distribution() -> None:
    scale = 1 << 60
    samples = draws(12000, "wide", lambda bits: discrete_laplace(bits, scale, 1))
    # |x| is exponential up to 2^-60: to the 20 classes of equal probability with its sign.
    classes = Counter((x >= 0, min(9, int(10 * (1 - math.exp(-abs(x) / scale))))) for x in samples)
    limit = math.log(2 * 20 / ERROR)
    assert len(classes) == 20
    assert all(len(samples) * divergence(classes[key] / len(samples), 0.05) <= limit for key in classes)


def test_bits_run_out_with_a_probability_below_two_to_the_minus_100() -> None:
    # Chernoff: P(bits > limit) <= E[z^bits] / z^limit, with the generating functions of the loops
    # in discrete_laplace.
    z = 1.0013
    length = TERM_MOST.bit_length() - 1
    uniform = z**length / (2 - z**length)  # drawn again with probability 1/2 at most
    coin = z / (2 - z)
    exponential = max(1, 1 + (coin - 1) * math.exp(coin))  # thrown k times with probability 1/(k-1)! - 1/k! at most
    turns = (1 - math.exp(-1)) * exponential / (1 - exponential / math.e)
    attempt = uniform * exponential * turns * z
    rejected = 1 - (1 - math.exp(-1)) / 2
    assert rejected * attempt < 1
    total = attempt / (1 - rejected * attempt)
    assert math.log2(total) - 256 * BLOCKS_MOST * math.log2(z) < -100


def test_the_loss_by_truncation_is_the_one_in_the_docstring() -> None:
    for change, epsilon, bound in ((1, 1.0, 8), (3, 1.0, 12), (7, 0.5, 70), (2, 3.0, 5)):
        p = math.exp(-epsilon / change)
        pmf = laplace_pmf(change / epsilon, bound, bound)
        loss = sum(max(0.0, share - math.exp(epsilon) * pmf.get(x - change, 0.0) - 1e-15) for x, share in pmf.items())
        stated = p ** (bound - change + 1) * (1 - p**change) / (1 + p - 2 * p ** (bound + 1))
        assert math.isclose(loss, stated, rel_tol=1e-9, abs_tol=1e-12)


def test_the_bound_of_a_record_costs_what_privacy_py_says() -> None:
    for record_epsilon in (0.01, 0.5, 1.0, 4.0):
        terms = Terms("sum", 0, 2500, MILLION, int(record_epsilon * MILLION))
        p = math.exp(-record_epsilon / 2500)
        delta = p ** (terms.bound - 2499) * (1 - p**2500) / (1 + p - 2 * p ** (terms.bound + 1))
        assert terms.bound >= FOLDS * 2500 / record_epsilon and delta < (math.exp(record_epsilon) - 1) * 2**-34


# -- results


def result(terms: Terms, values: list[int], seeds: list[bytes]) -> int:
    """Return the sum that the leader of a group with these tuples sends."""
    joined = bytes(16)
    for seed in seeds:
        joined = bytes(a ^ b for a, b in zip(joined, seed, strict=True))
    total: int = terms.noised((len(values), 0, sum(values)), joined, b"query")[2]
    return total


def test_two_neighbouring_databases_give_results_within_exp_epsilon() -> None:
    terms = Terms("sum", 0, 4, MILLION)

    def run(side: bool, source: random.Random) -> int:
        # All but one member collude: their values and seeds are known and stay.
        return result(terms, [4 if side else 0, 1, 2], [source.randbytes(16), bytes(16), b"known to others."])

    outputs = neighbours(12000, "sum", run)
    assert is_private(outputs, 1.0) and not is_private(outputs, 0.7)


def jointly_private(
    name: str, terms: Terms, states: tuple[tuple[int, ...], tuple[int, ...]], least: tuple[int, int]
) -> bool:
    """Tell whether two numbers, of each of two databases, are private at 1 and not at 0.5, by which
    of them reach `least`."""

    def run(side: bool, source: random.Random) -> int:
        first, second = terms.noised(states[side], source.randbytes(16), b"query")[2:]
        return 2 * (first >= least[0]) + (second >= least[1])

    outputs = neighbours(8000, name, run)
    return is_private(outputs, 1.0) and not is_private(outputs, 0.5)


def test_a_histogram_is_private_jointly_in_all_its_cells() -> None:
    terms = Terms("histogram", 0, 1, MILLION, 0, 1, 2)
    assert jointly_private("histogram", terms, ((1, 0, 0, 1), (1, 0, 1, 0)), (1, 1))


def test_variance_is_private_jointly_in_both_its_sums() -> None:
    assert jointly_private("variance", Terms("variance", 0, 3, MILLION), ((1, 0, 0, 0), (1, 0, 3, 9)), (3, 9))


def test_a_count_is_private_and_told_within_what_there_is() -> None:
    terms = Terms("count", 0, 3, MILLION)

    def run(side: bool, source: random.Random) -> int:
        told, left = terms.noised((3, 1) if side else (2, 2), source.randbytes(16), b"query")
        assert told + left == 4
        return int(told)

    outputs = neighbours(8000, "count", run)
    assert {value for _, value in outputs} == set(range(5))
    assert is_private(outputs, 1.0) and not is_private(outputs, 0.6)


def test_groups_with_the_same_tuples_send_equal_results_whatever_the_order() -> None:
    source = random.Random("order")
    terms = Terms("sum", 0, 100, MILLION)
    tuples = [(source.randrange(101), source.randbytes(16)) for _ in range(13)]
    results = set()
    for _ in range(5):
        source.shuffle(tuples)
        results.add(result(terms, [value for value, _ in tuples], [seed for _, seed in tuples]))
    assert len(results) == 1


def test_groups_that_differ_in_one_tuple_have_independent_noise() -> None:
    terms = Terms("sum", 0, 4, MILLION)
    source = random.Random("groups")
    differences = []
    for _ in range(6000):
        seeds = [source.randbytes(16) for _ in range(3)]
        differences.append(result(terms, [4, 1, 2], seeds) - result(terms, [1, 2], seeds[1:]) - 4)
    pmf = difference_pmf(laplace_pmf(4, 120))
    assert fits(differences, pmf) and not fits(differences, laplace_pmf(4, 240))


# -- records


def keys_between(own: int, secrets: dict[tuple[int, int], bytes]) -> Callable[[int, bool], bytes]:
    return lambda peer, outgoing: secrets[(own, peer) if outgoing else (peer, own)]


def records_of(values: list[int], terms: Terms, secrets: dict[tuple[int, int], bytes], reach: int = 1) -> list[int]:
    found = []
    for own, value in enumerate(values):
        pairs = partners(own, START, len(values), NODES, reach)
        noise = record_noise(keys_between(own, secrets), pairs, own, b"query", terms.scale, terms.bound)
        found.append(terms.contribution(value) + noise)
    return found


def fresh_secrets(source: random.Random, reach: int = 1) -> dict[tuple[int, int], bytes]:
    receivers = {own: partners(own, START, MEMBERS, NODES, reach)[0] for own in range(MEMBERS)}
    return {(own, peer): source.randbytes(32) for own in receivers for peer in receivers[own]}


def known_noise(terms: Terms, secrets: dict[tuple[int, int], bytes], victim: int, colluders: list[int]) -> int:
    """Return what the colluders know of the noise in the victim's record."""
    known = 0
    for (sender, receiver), secret in secrets.items():
        if (sender == victim and receiver in colluders) or (receiver == victim and sender in colluders):
            noise = pair_noise(secret, b"query", sender, receiver, terms.scale, terms.bound)
            known += noise if sender == victim else -noise
    return known


def test_what_colluding_neighbours_leave_of_a_record_is_private() -> None:
    # All but one of the neighbours collude, and a proxy too: it knows whose record it sees, and all
    # noises but one.
    for tolerate, count in ((1, 8000), (3, 5000)):
        reach = reach_of(tolerate)
        terms = Terms("sum", 0, 4, MILLION, MILLION, 1, 1, reach)
        receivers, senders = partners(0, START, MEMBERS, NODES, reach)
        honest = receivers[-1]
        colluders = [one for one in receivers + senders if one != honest]
        assert len(colluders) == 2 * reach - 1 == tolerate
        pairs = [(0, peer) for peer in receivers] + [(peer, 0) for peer in senders]
        secrets = {pair: bytes(pair).ljust(32) for pair in pairs}
        known = known_noise(terms, secrets, 0, colluders)

        def run(
            side: bool,
            source: random.Random,
            reach: int = reach,
            terms: Terms = terms,
            honest: int = honest,
            secrets: dict[tuple[int, int], bytes] = secrets,
            known: int = known,
        ) -> int:
            secrets[0, honest] = source.randbytes(32)
            pairs = partners(0, START, MEMBERS, NODES, reach)
            noise = record_noise(keys_between(0, secrets), pairs, 0, b"query", terms.scale, terms.bound)
            return int(terms.contribution(4 if side else 0)) + noise - known

        outputs = neighbours(count, "record", run)
        assert is_private(outputs, 1.0) and not is_private(outputs, 0.5)


def seen_by_two(name: str, terms: Terms, reach: int = 1) -> Iterator[tuple[int, list[int]]]:
    """Yield of 60 runs the first member's reading, and all records less the noise that the paper's
    two neighbours of it know."""
    source = random.Random(name)
    receivers, senders = partners(0, START, MEMBERS, NODES)
    for _ in range(60):
        secrets = fresh_secrets(source, reach)
        values = [source.randrange(11) for _ in range(MEMBERS)]
        known = known_noise(terms, secrets, 0, receivers + senders)
        yield values[0], [record - known for record in records_of(values, terms, secrets, reach)]


def test_with_the_papers_two_neighbours_both_byzantine_find_the_record_and_read_it() -> None:
    # The paper says they "would have no basis for identifying that record": the range of what
    # remains is one.
    alone = 0
    for reading, seen in seen_by_two("both", Terms("sum", 0, 10, MILLION, MILLION // 100)):
        candidates = [value for value in seen if 0 <= value <= 10]
        assert reading in candidates
        alone += len(candidates) == 1
    assert alone >= 45


def test_with_a_reach_of_two_the_same_two_find_nothing() -> None:
    terms = Terms("sum", 0, 10, MILLION, MILLION // 100, 1, 1, reach_of(2))
    found = sum(seen[0] == reading for reading, seen in seen_by_two("reach", terms, reach_of(2)))
    # The two noises that remain cancel with a probability of 1/4000: 4 times in 60 with one below
    # 1e-8.
    assert found < 4


# -- the smallest query that is answered: the colluders to be borne, and the policy's honest members


def smallest(tolerate: int) -> tuple[int, list[int]]:
    """Return (n, the ids called absent), of so many members that all but the fewest are absent."""
    living = tolerate + Policy().contributors_least
    n = next(n for n in (11, 13, 19, 29) if n >= 2 * living)
    return n, list(range(living, n))


def test_whoever_colludes_each_honest_record_keeps_a_noise_that_none_of_them_knows() -> None:
    for tolerate in range(1, 7):
        n, absent = smallest(tolerate)
        living = n - len(absent)
        for start in range(n - 1):
            pairs = [partners(own, start, n, n, reach_of(tolerate), absent) for own in range(living)]
            for colluders in combinations(range(living), tolerate):
                for own in set(range(living)) - set(colluders):
                    others = pairs[own][0] + pairs[own][1]
                    assert len(set(others)) == len(others) > tolerate
                    assert not set(others) <= set(colluders), (tolerate, start, colluders)
    # With one pair less a member's others may all collude: the control.
    n, absent = smallest(3)
    assert sum(map(len, partners(0, 0, n, n, 1, absent))) < 3


def test_colluders_who_reveal_their_noise_and_leave_out_their_records_leave_a_record_private() -> None:
    # Two of five that are called alive. They hold a record, know whose it is, and take off the
    # noises that they share; theirs, which would take back some of it in the sum, they leave out.
    tolerate = 2
    n, absent = smallest(tolerate)
    terms = Terms("sum", 0, 4, MILLION, MILLION, 1, 1, reach_of(tolerate))
    receivers, senders = partners(0, START, n, n, reach_of(tolerate), absent)
    colluders = (receivers + senders)[:tolerate]

    def run(side: bool, source: random.Random) -> int:
        drawn = {pair: source.randbytes(32) for pair in [(0, peer) for peer in receivers] + [(p, 0) for p in senders]}
        noise = record_noise(keys_between(0, drawn), (receivers, senders), 0, b"query", terms.scale, terms.bound)
        return int(terms.contribution(4 if side else 0)) + noise - known_noise(terms, drawn, 0, colluders)

    outputs = neighbours(8000, "smallest", run)
    # Two noises are left: the loss is less than by one.
    assert is_private(outputs, 1.0) and not is_private(outputs, 0.3)


def test_colluders_whose_seeds_are_known_or_left_out_leave_the_whole_noise_of_a_result() -> None:
    terms = Terms("sum", 0, 4, MILLION)
    for left_out in (False, True):
        own = [] if left_out else [1, 2]

        def run(side: bool, source: random.Random, own: list[int] = own) -> int:
            # Three honest tuples, of which the colluders hold two: they know those seeds as well.
            seeds = [source.randbytes(16), b"held by a proxy.", b"held by another."]
            return result(terms, [4 if side else 0, 3, 3, *own], seeds + [bytes(16)] * len(own))

        outputs = neighbours(12000, f"seeds {left_out}", run)
        assert is_private(outputs, 1.0) and not is_private(outputs, 0.7)


def test_every_honest_record_passes_the_widened_clause_and_few_pass_the_narrow_one() -> None:
    terms = Terms("sum", 0, 2500, MILLION, MILLION)
    source = random.Random("clause")
    narrow = 0
    for _ in range(40):
        records = records_of([0, 2500] * (MEMBERS // 2), terms, fresh_secrets(source))
        assert all(terms.clause[0] <= record <= terms.clause[1] for record in records)
        assert sum(records) == 2500 * MEMBERS // 2
        narrow += sum(0 <= record <= 2500 for record in records)
    assert narrow < 0.6 * 40 * MEMBERS


def test_a_crash_leaves_an_error_of_mean_zero_and_twice_the_variance() -> None:
    terms = Terms("sum", 0, 4, MILLION, MILLION)
    source = random.Random("crash")
    p = math.exp(-1 / 4)
    variance = 2 * (2 * p / (1 - p) ** 2)
    (receiver,), (sender,) = partners(5, START, MEMBERS, NODES)
    errors = []
    for _ in range(2500):
        # What its neighbours' records have of the pairs with it, and nothing takes back
        # (test_paired_noise.py).
        errors.append(
            pair_noise(source.randbytes(32), b"query", sender, 5, terms.scale, terms.bound)
            - pair_noise(source.randbytes(32), b"query", 5, receiver, terms.scale, terms.bound)
        )
    mean = sum(errors) / len(errors)
    second = sum(error * error for error in errors) / len(errors)
    # Seven standard deviations; the sum of two such noises has the kurtosis 4.5.
    assert abs(mean) < 7 * math.sqrt(variance / len(errors))
    assert abs(second / variance - 1) < 7 * math.sqrt(3.5 / len(errors))
    assert fits(errors, difference_pmf(laplace_pmf(4, terms.bound, terms.bound)))
    assert not fits(errors, laplace_pmf(4, 300))
