"""Points of the curve NIST P-256 (SEC 2 version 2, section 2.4.2; RFC 6090).

A point is in Jacobian coordinates: (X, Y, Z) stands for (X/Z^2, Y/Z^3), and Z = 0 for infinity. A
scalar is written in 64 odd digits, so the sequence of point operations does not depend on it; but
Python's integers do not compute in constant time, and nothing here claims that they do.
"""

from agent.crypto import accelerate
from agent.crypto.p256_table import kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    Affine = tuple[int, int]
    Jacobian = tuple[int, int, int]

# A product and `% P` are faster on MicroPython's integers than the
# shift-and-add reduction that this prime was chosen for: that needs eight more big-integer
# operations, each with its own object.
P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
GX = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296
GY = 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5

_ALL_FIFTEENS = 2**256 - 1  # 15 in each of 64 hexadecimal digits


def base_multiple_steps(scalar: int) -> "Generator[None, None, Affine]":
    """Return scalar*G, 1 <= scalar < N, as affine (x, y): a generator that yields None."""
    point_sum = accelerate.point_sum()
    if point_sum:
        point = point_sum([(scalar, GX, GY)])
        assert point is not None  # as in ecdh_steps
        return point
    # The upper half of the digits goes with 2^128*G: half the doublings.
    digits = digits_of(scalar)
    points = base_points()
    return affine((yield from sum_steps([(digits[:32], points[:8]), (digits[32:], points[8:])])))


def digits_of(scalar: int) -> list[int]:
    """Return 64 odd digits d_i in -15..15, least significant first, with sum d_i*16^i = scalar mod
    N; scalar <= N.

    For odd k the digits are 2*m_i - 15, where m_i are the hexadecimal digits of (k + 2^256 - 1)/2;
    for an even scalar they are those of N - scalar, negated. The idea of a recoding without zeros:
    Joye and Tunstall 2009.
    """
    sign = 1 if scalar & 1 else -1
    digits = []
    for byte in (((scalar if sign == 1 else N - scalar) + _ALL_FIFTEENS) >> 1).to_bytes(32, "little"):
        digits.append(sign * (2 * (byte & 15) - 15))
        digits.append(sign * (2 * (byte >> 4) - 15))
    return digits


def sum_steps(rows: "Sequence[tuple[list[int], list[Jacobian]]]") -> "Generator[None, None, Jacobian]":
    """Return the sum over (digits, table) in `rows` of sum_i digits[i]*16^i times the table's point
    (Straus).

    A generator that yields None after each digit, some 100 us on the unix port of MicroPython and 9
    ms on a Pico.
    """
    total = (0, 1, 0)
    for i in range(len(rows[0][0]) - 1, -1, -1):
        total = _double(total, 4)
        for digits, table in rows:
            x, y, z = table[abs(digits[i]) >> 1]
            total = _add(total, (x, y if digits[i] > 0 else P - y, z))
        yield
    return total


def odd_multiples(point: "Jacobian") -> "list[Jacobian]":
    """Return [1, 3, 5, ..., 15] times a point."""
    twice = _double(point, 1)
    table = [point]
    for _ in range(7):
        table.append(_add(twice, table[-1]))
    return table


def base_points() -> "list[Jacobian]":
    """Return the odd multiples up to 15 of G, then of 2^128*G, with Z = 1; between calls they take
    1 kB as bytes."""
    if not kept[0]:
        kept[0] = _make_base_table()
    table = kept[0]
    return [
        (int.from_bytes(table[i : i + 32], "big"), int.from_bytes(table[i + 32 : i + 64], "big"), 1)
        for i in range(0, len(table), 64)
    ]


def _make_base_table() -> bytes:
    base = (GX, GY, 1)
    points = odd_multiples(base) + odd_multiples(_double(base, 128))
    # One inversion for all (Montgomery's trick): products[i] is the product of the Zs before point
    # i.
    products = [1]
    for point in points:
        products.append(products[-1] * point[2] % P)
    inverse = accelerate.powmod(products[-1], P - 2, P)
    table = bytearray(64 * len(points))
    for i in range(len(points) - 1, -1, -1):
        x, y = _scale(points[i], inverse * products[i] % P)
        inverse = inverse * points[i][2] % P
        table[64 * i : 64 * i + 64] = x.to_bytes(32, "big") + y.to_bytes(32, "big")
    return bytes(table)


def affine(point: "Jacobian") -> "Affine":
    return _scale(point, accelerate.powmod(point[2], P - 2, P))


def _scale(point: "Jacobian", inverse: int) -> "Affine":
    """Return affine (x, y), given 1/Z."""
    square = inverse * inverse % P
    return point[0] * square % P, point[1] * square % P * inverse % P


def _double(point: "Jacobian", times: int) -> "Jacobian":
    """Double a point `times` times: a = -3 allows 3(X - Z^2)(X + Z^2) for the slope (RFC 6090,
    appendix F, and EFD)."""
    x, y, z = point
    for _ in range(times):
        zz = z * z % P
        yy = y * y % P
        slope = 3 * (x - zz) * (x + zz) % P
        z = 2 * y * z % P
        y4 = 4 * x * yy % P
        x = (slope * slope - 2 * y4) % P
        y = (slope * (y4 - x) - 8 * yy * yy) % P
    return x, y, z


def _add(p: "Jacobian", q: "Jacobian") -> "Jacobian":
    """Add two points, equal, opposite and infinite ones included; cheaper where q has Z = 1."""
    x1, y1, z1 = p
    x2, y2, z2 = q
    if not z1:
        return q
    if z2 == 1:
        z3 = z1
    else:
        zz = z2 * z2 % P
        x1 = x1 * zz % P
        y1 = y1 * zz % P * z2 % P
        z3 = z1 * z2 % P
    zz = z1 * z1 % P
    h = (x2 * zz - x1) % P
    r = (y2 * zz % P * z1 - y1) % P
    if not h:
        return (0, 1, 0) if r else _double(q, 1)
    hh = h * h % P
    hhh = hh * h % P
    v = x1 * hh % P
    x3 = (r * r - hhh - 2 * v) % P
    return x3, (r * (v - x3) - y1 * hhh) % P, z3 * h % P
