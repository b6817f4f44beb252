"""The overlay's arithmetic: for n virtual ids it gives the sender and the receiver of each round.
Routes through it are in agent/protocols/gossip/overlay/routes.py.

In round j the node i sends to i + 2^j mod n, and rounds repeat after n-1 (paper, equation 1). n is
"suitable": a prime with 2 as a primitive root, so that 2^0 ... 2^(n-2) are the numbers 1 ... n-1,
each once. From this follow the two properties of section 4.1: efficiency, since the sums of some of
the steps of ceil(log2 n) rounds, from any round on, are all residues; and uniformity, since a node
sends to every other node exactly once in n-1 rounds.

Source: Tremel et al., "Anonymous, Fault-Tolerant Distributed Queries for Smart Devices", sections
4.1, 4.2 and 7.2.
"""


def log2_ceil(n: int) -> int:
    """Return the least L with 2^L >= n, for n >= 1: the rounds in which what one node knows can
    reach all."""
    bits = 0
    while 1 << bits < n:
        bits += 1
    return bits


def is_suitable(n: int) -> bool:
    """Tell whether n is a prime that has 2 as a primitive root, 3 the least; in time of the square
    root of n.

    One test does both: only modulo a prime can a number have the order n-1, and the order of 2 is
    n-1 if 2^(n-1) is 1 and 2^((n-1)/q) is not, for each prime q that divides n-1.
    """
    if n < 3 or pow(2, n - 1, n) != 1:
        return False
    rest = n - 1
    q = 2
    while rest > 1:
        if q * q > rest:
            q = rest
        if rest % q == 0:
            if pow(2, (n - 1) // q, n) == 1:
                return False
            while rest % q == 0:
                rest //= q
        q += 1
    return True


def suitable_size(n: int) -> int:
    """Return the smallest suitable number that is n or greater."""
    while not is_suitable(n):
        n += 1
    return n


def partner(i: int, j: int, n: int) -> int:
    """Return to whom the node i (0 to n-1) sends in round j, which may be any integer."""
    return (i + pow(2, j % (n - 1), n)) % n


def predecessor(i: int, j: int, n: int) -> int:
    """Return from whom the node i receives in round j: nobody else's message in this round is the
    overlay's."""
    return (i - pow(2, j % (n - 1), n)) % n


def round_of(a: int, b: int, n: int) -> int:
    """Return the one round, 0 to n-2, in which a sends to b, another node. At most n-2 doublings.
    ValueError if a is b."""
    step = (b - a) % n
    if step == 0:
        raise ValueError("no node sends to itself")
    power = 1
    j = 0
    while power != step:
        power = power * 2 % n
        j += 1
    return j


def flood_rounds(n: int, failed: int) -> int:
    """Return in how many rounds a flood, begun in any round by any living node, has reached every
    living node, if at most `failed` nodes (0 to n-1) neither send nor receive.

    The paper's ceil(log2 n) + f is too few from two failures on: a failed node can be in the way
    twice, where the flood begins and where it ends (n = 11, nodes 1 and 2, source 0, round 0: 7
    rounds, not 6). Hence two rounds for each. That this is enough is measured, not proved: over all
    sets of failed nodes for n <= 13, the sets of up to 5 for n = 19, and the worst that a search
    finds for greater n (tests/host_sim/gossip/test_overlay_exhaustive.py). n-1 rounds are always
    enough: in them the source itself sends to all.
    """
    return min(n - 1, log2_ceil(n) + 2 * failed)
