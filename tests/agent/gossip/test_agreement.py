"""Agreement of gossip-bft: whatever Byzantine proxies send, correct ones count a tuple alike; and
no more than needed is checked."""

from hashlib import sha256

from agent.protocols.gossip import functions
from agent.protocols.gossip.onion import tuples
from agent.protocols.gossip.phases import agreement
from agent.protocols.gossip.plan import Plan

PROOF = 288
QUERY = functions.load("sum")


class Secrets:
    """Signatures that nobody forges here: the adversary below signs with `sign_as` for its own
    nodes only."""

    def __init__(self, own):
        self.own = own
        self.verified = 0

    def sign(self, message):
        yield
        return sign_as(self.own, message)

    def verify(self, peer, message, signature):
        self.verified += 1
        yield
        return signature == sign_as(peer, message)


def sign_as(own, message):
    return sha256(b"%d" % own + message).digest() * 2


class Proxy:
    """What agreement.py needs of a Node, and what it sent: (round, cell)."""

    def __init__(self, plan, own, absent=()):
        self.plan = plan
        self.own_id = own
        self.absent = set(absent)
        self.secrets = Secrets(own)
        self.tuples = {}
        self.refused = {}
        self.posted = []
        self.running = None
        self.checked = 0

    def genuine(self, raw):
        self.checked += 1
        yield
        return raw[-PROOF:] == proof_of(raw[:-PROOF])

    def key(self, raw):
        return tuples.digest_of(self.plan, raw)

    def keep_only(self, agreed):
        self.tuples = agreed

    def refuse(self, reason):
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def post(self, r, cell):
        self.posted.append((r, cell))

    def receive(self, r, cells):
        run(self.running.take(r, cells))


def proof_of(content):
    return sha256(b"signer" + content).digest() * 9


def run(steps):
    if steps is not None:
        for step in steps:
            assert step is None


def plan_of(tolerate, members=13, multicasts=None):
    plan = Plan("gossip-bft", 1, members, tolerate, QUERY, 2, 0, PROOF)
    if multicasts:
        plan.phases = plan.phases[: 1 + multicasts]
    return plan


def tuple_for(plan, proxies, value=7, identity=b"identity"):
    content = tuples.make(identity, value, proxies)
    return content + proof_of(content)


def proxies_of(plan):
    return [plan.group(index)[index % 2] for index in range(plan.groups)]


def meeting(plan, phase, sender, to):
    return next(r for r in range(phase.first, phase.end) if plan.partner(sender, r) == to)


def agree(plan, raw, correct, shuffled, adversary):
    """Run all multicasts; adversary(k, to) returns the chains, lists of (group, signature), that
    Byzantine proxies send to one."""
    nodes = [Proxy(plan, own) for own in correct]
    for node in nodes:
        if node.own_id in shuffled:
            node.tuples[node.key(raw)] = raw
    proxies = tuples.proxies_of(plan, raw)
    for k in range(1, len(plan.phases)):
        phase = plan.phases[k]
        for node in nodes:
            node.running = agreement.Multicast(k)(node, phase, node.running)
            node.posted = []
            run(node.running.enter(phase.first))
        for node in nodes:
            for r, cell in node.posted:
                for other in nodes:
                    if plan.partner(node.own_id, r) == other.own_id:
                        other.receive(r, [cell])
        for node in nodes:
            for chain in adversary(k, node.own_id):
                cell = raw + b"".join([bytes((group,)) + signature for group, signature in chain])
                node.receive(meeting(plan, phase, proxies[chain[0][0]], node.own_id), [cell])
        for node in nodes:
            run(node.running.end())
    return nodes


def verdicts(nodes, raw):
    return [node.tuples.get(node.key(raw)) == raw for node in nodes]


def nothing(k, to):
    return []


def test_a_tuple_that_one_correct_proxy_got_is_counted_by_all():
    for tolerate in (1, 2):
        plan = plan_of(tolerate)
        proxies = proxies_of(plan)
        raw = tuple_for(plan, proxies)
        correct = proxies[tolerate:]
        for count in range(1, len(correct) + 1):
            nodes = agree(plan, raw, correct, correct[:count], nothing)
            assert verdicts(nodes, raw) == [True] * len(correct)
        nodes = agree(plan, raw, correct, [], nothing)
        assert verdicts(nodes, raw) == [False] * len(correct)


def test_one_byzantine_proxy_cannot_split_two_correct_ones_whatever_it_sends_to_whom():
    plan = plan_of(1)
    proxies = proxies_of(plan)
    raw = tuple_for(plan, proxies)
    name = tuples.digest_of(plan, raw)
    correct = proxies[1:]
    signed = [(g, sign_as(p, name + p.to_bytes(2, "big"))) for g, p in enumerate(proxies)]
    outcomes = set()
    for choice in range(4 * 4 * 9):
        shuffled = [p for i, p in enumerate(correct) if choice >> i & 1]
        adversary = loner(signed, correct, shuffled, choice // 4 % 4, choice // 16)
        verdict = verdicts(agree(plan, raw, correct, shuffled, adversary), raw)
        assert verdict[0] == verdict[1], (choice, verdict)
        assert verdict[0] or not shuffled
        outcomes.add((verdict[0], bool(shuffled)))
    assert outcomes == {(True, True), (True, False), (False, False)}


def loner(signed, correct, shuffled, first, second):
    """An adversary with the first proxy's key: `first` says to whom it sends in multicast 1,
    `second` what to whom in multicast 2."""

    def adversary(k, to):
        at = correct.index(to)
        if k == 1:
            return [signed[:1]] if first >> at & 1 else []
        # It knows a correct node's signature if that node has signed: a copy of the tuple goes to
        # it, too.
        chain = second // 3**at % 3
        known = chain and (shuffled or first >> (chain - 1) & 1)
        return [[signed[0], signed[chain]]] if known else []

    return adversary


def test_two_byzantine_proxies_cannot_split_three_correct_ones_in_random_tries():
    plan = plan_of(2)
    assert [phase.name for phase in plan.phases] == ["shuffle", "multicast-1", "multicast-2", "multicast-3"]
    proxies = proxies_of(plan)
    raw = tuple_for(plan, proxies)
    counted = 0
    for number in range(60):
        draw = Drawn(number)
        correct = proxies[2:]
        shuffled = [p for p in correct if draw.below(4) == 0] if draw.below(2) else []
        verdict = verdicts(agree(plan, raw, correct, shuffled, colluders(plan, raw, proxies, draw)), raw)
        assert verdict in ([True] * 3, [False] * 3), (number, verdict)
        assert verdict[0] or not shuffled
        counted += verdict[0]
    assert 10 < counted < 60


def test_with_a_multicast_fewer_two_colluders_do_split():
    # Why there are faults+1 multicasts: here the second colluder shows its signature to one correct
    # node after all have spoken.
    plan = plan_of(2, multicasts=2)
    proxies = proxies_of(plan)
    raw = tuple_for(plan, proxies)
    name = tuples.digest_of(plan, raw)
    signed = [(g, sign_as(p, name + p.to_bytes(2, "big"))) for g, p in enumerate(proxies)]

    def adversary(k, to):
        if k == 1:
            return [signed[:1]] if to == proxies[2] else []
        return [[signed[1], signed[0]]] if to == proxies[3] else []

    verdict = verdicts(agree(plan, raw, proxies[2:], [], adversary), raw)
    assert verdict == [False, True, False]
    # With all three the same is no use.
    plan = plan_of(2)
    assert verdicts(agree(plan, raw, proxies[2:], [], adversary), raw) == [True] * 3


class Drawn:
    """Random numbers that follow from a number, on both interpreters."""

    def __init__(self, number):
        self._state = b"%d" % number

    def below(self, most):
        self._state = sha256(self._state).digest()
        return int.from_bytes(self._state[:4], "big") % most


def colluders(plan, raw, proxies, draw):
    """An adversary with the first two proxies' keys: chains of the right length at random, correct
    nodes' signatures among them."""
    name = tuples.digest_of(plan, raw)
    signed = [(g, sign_as(p, name + p.to_bytes(2, "big"))) for g, p in enumerate(proxies)]
    spoken = set()  # to whom something was sent: they sign in the next multicast

    def adversary(k, to):
        if draw.below(6):
            return []
        known = [signed[g] for g in range(2, len(proxies)) if (g, k - 1) in spoken or (g, k - 2) in spoken]
        first = draw.below(2)
        rest = [signed[1 - first]] + known
        while len(rest) > k - 1:
            rest.pop(draw.below(len(rest)))
        if len(rest) < k - 1:
            return []
        spoken.add((proxies.index(to), k))
        return [[signed[first]] + rest]

    return adversary


def test_who_sends_what_does_not_hold_is_heard_no_more():
    plan = plan_of(1)
    proxies = proxies_of(plan)
    raw = tuple_for(plan, proxies)
    phase = plan.phases[1]
    name = tuples.digest_of(plan, raw)
    signature = sign_as(proxies[0], name + proxies[0].to_bytes(2, "big"))
    chain = bytes((0,)) + signature
    other = tuple_for(plan, [proxies[0], proxies[1], plan.group(2)[2]])
    cases = (
        ("forged", raw[:-1] + bytes((raw[-1] ^ 1,)) + chain),
        ("bad-signature", raw + bytes((0,)) + bytes(64)),
        ("bad-chain", raw + bytes((2,)) + signature),  # the sender is not the first to sign
        ("bad-chain", raw + bytes((3,)) + signature),  # IndexError or no such group
        ("not-mine", other + chain),
        ("bad-proxies", tuple_for(plan, [proxies[0], tuples.NOBODY, proxies[2]]) + chain),
    )
    for reason, cell in cases:
        node = Proxy(plan, proxies[2])
        node.running = agreement.Multicast(1)(node, phase, None)
        r = meeting(plan, phase, proxies[0], node.own_id)
        node.receive(r, [cell, raw + chain, raw + chain])
        assert node.refused == {reason: 1, "ignored": 2}, (reason, node.refused)
        node.receive(
            meeting(plan, phase, proxies[1], node.own_id),
            [raw + bytes((1,)) + sign_as(proxies[1], name + proxies[1].to_bytes(2, "big"))],
        )
        assert node.refused == {reason: 1, "ignored": 2}
        assert node.secrets.verified <= 2 and node.checked <= 2


def test_a_signature_is_for_one_tuple_and_one_signer():
    plan = plan_of(1)
    proxies = proxies_of(plan)
    phase = plan.phases[1]
    a, b = [tuple_for(plan, proxies, value) for value in (1, 2)]
    of_a = sign_as(proxies[0], tuples.digest_of(plan, a) + proxies[0].to_bytes(2, "big"))
    node = Proxy(plan, proxies[2])
    node.running = agreement.Multicast(1)(node, phase, None)
    node.receive(meeting(plan, phase, proxies[0], node.own_id), [b + bytes((0,)) + of_a])
    assert node.refused == {"bad-signature": 1}


def test_two_tuples_with_one_identity_are_two():
    plan = plan_of(1)
    proxies = proxies_of(plan)
    a, b = [tuple_for(plan, proxies, value) for value in (1, 2)]
    assert a[:8] == b[:8] and tuples.digest_of(plan, a) != tuples.digest_of(plan, b)
    assert tuples.digest_of(plan, a) == tuples.digest_of(plan, a[:-1] + bytes((a[-1] ^ 1,)))  # the proof is not in it


def test_no_more_is_verified_than_is_needed():
    plan = plan_of(2)
    proxies = proxies_of(plan)
    raw = tuple_for(plan, proxies)
    nodes = agree(plan, raw, proxies, proxies, nothing)
    for node in nodes:
        assert node.checked == 0  # Shuffle did
        assert node.secrets.verified == 2  # with its own it has three
        assert node.refused == {} and len(node.posted) == 0
    late = agree(plan, raw, proxies, proxies[:1], nothing)
    assert [node.checked for node in late] == [0, 1, 1, 1, 1]


def test_a_flood_of_tuples_ends_at_the_bound():
    plan = plan_of(1)
    proxies = proxies_of(plan)
    phase = plan.phases[1]
    node = Proxy(plan, proxies[2])
    node.running = agreement.Multicast(1)(node, phase, None)
    for number in range(plan.tuples_most + 5):
        raw = tuple_for(plan, proxies, number)
        signature = sign_as(proxies[0], tuples.digest_of(plan, raw) + proxies[0].to_bytes(2, "big"))
        node.receive(meeting(plan, phase, proxies[0], node.own_id), [raw + bytes((0,)) + signature])
    assert node.refused == {"too-many": 5}


def test_a_tuple_must_have_a_proxy_in_every_group_with_living_nodes():
    plan = plan_of(1)
    proxies = proxies_of(plan)
    raw = tuple_for(plan, [proxies[0], tuples.NOBODY, proxies[2]])
    for absent, held in ((), 0), (tuple(plan.group(1)), 1), (proxies[:1], 0):
        node = Proxy(plan, proxies[2], absent)
        node.tuples = {node.key(raw): raw}
        node.running = agreement.Multicast(1)(node, plan.phases[1], None)
        run(node.running.enter(plan.phases[1].first))
        assert len(node.posted) == held
        assert node.refused == ({} if held else {"bad-proxies": 1})


def test_few_nodes_have_as_many_multicasts_as_it_takes_and_many_have_two():
    for members, tolerate, count in ((13, 1, 2), (13, 2, 3), (29, 3, 4), (53, 2, 3), (101, 4, 2), (797, 10, 2)):
        plan = plan_of(tolerate, members)
        assert len(plan.phases) == 1 + count, (members, tolerate)
        assert plan.phases[1].rounds == (members - 1 if members <= 64 else 2 * plan.bits)
