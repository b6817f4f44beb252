"""A host process may plug in faster code here, and only here, for the same results.

A board never calls `install`. A CPython host calls `use_host_libraries()` once at its start, or
`install` with its own functions. Nothing outside the standard library is imported before that.
"""

try:
    from cryptolib import aes as _built_in_aes
except ImportError:  # CPython
    _built_in_aes = None  # type: ignore[misc, assignment]  # a class that may be missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypedDict

    from agent.crypto.octets import Octets

    class Cipher(Protocol):
        """One key in one mode, as `cryptolib.aes`: `output` is as long as the data, and may be
        them."""

        def encrypt(self, __data: Octets, __output: bytearray) -> object: ...

    Power = Callable[[int, int, int], int]
    PointSum = Callable[[list[tuple[int, int, int]]], tuple[int, int] | None]
    Digest = Callable[[bytes], bytes]

    class Installed(TypedDict):
        """What install() was given."""

        aes: Callable[..., Cipher] | None
        powmod: Power | None
        point_sum: PointSum | None
        sha384: Digest | None


_installed: "Installed" = {"aes": None, "powmod": None, "point_sum": None, "sha384": None}


def install(
    aes: "Callable[..., Cipher] | None" = None,
    powmod: "Power | None" = None,
    point_sum: "PointSum | None" = None,
    sha384: "Digest | None" = None,
) -> None:
    """Replace what is given and put the built-in code back for the rest; `install()` is pure Python
    again.

    aes(key, mode[, iv])    object whose encrypt(data, output) works like `cryptolib.aes`: mode 1
                            is ECB, 2 is CBC
    powmod(b, e, m)         b**e % m as an int, for 0 <= b, 0 <= e, 1 <= m
    point_sum(terms)        the P-256 point k1*(x1, y1) + k2*(x2, y2) + ... of the list `terms` of
                            (k, x, y), as affine ints (x, y), or None for the point at infinity;
                            0 <= k < n, the points are valid
    sha384(message)         the 48-byte digest of a byte string
    """
    _installed["aes"] = aes
    _installed["powmod"] = powmod
    _installed["point_sum"] = point_sum
    _installed["sha384"] = sha384


def use_host_libraries() -> None:
    """Plug in gmpy2 (powers), pycryptodome (AES, P-256) and hashlib. ImportError where one is
    missing; nothing changes then."""
    from hashlib import sha384

    # Is it there? Its parts take a while to import, and wait until they are wanted.
    import Crypto  # noqa: F401
    from gmpy2 import powmod

    def aes(key: bytes, mode: int, *iv: bytes) -> "Cipher":
        from Crypto.Cipher import AES

        made: Cipher = AES.new(key, mode, *iv)  # type: ignore[call-overload]  # it has literals
        return made

    def int_powmod(base: int, exponent: int, modulus: int) -> int:
        return int(powmod(base, exponent, modulus))

    def point_sum(terms: list[tuple[int, int, int]]) -> tuple[int, int] | None:
        from Crypto.PublicKey.ECC import EccPoint

        total = EccPoint(0, 0, "p256")  # pycryptodome's point at infinity
        for scalar, x, y in terms:
            total += EccPoint(x, y, "p256") * scalar
        return None if total.is_point_at_infinity() else (int(total.x), int(total.y))

    def sha384_digest(message: bytes) -> bytes:
        return sha384(message).digest()

    install(aes=aes, powmod=int_powmod, point_sum=point_sum, sha384=sha384_digest)


def powmod(base: int, exponent: int, modulus: int) -> int:
    """Return base**exponent % modulus as an int, for 0 <= base, 0 <= exponent and 1 <= modulus."""
    return (_installed["powmod"] or pow)(base, exponent, modulus)


def fast_powmod() -> "Power | None":
    """Return the installed `powmod`, or None: then a power is better made in slices
    (agent.joye_libert.pairs)."""
    return _installed["powmod"]


def aes(key: bytes, mode: int, *iv: bytes) -> "Cipher":
    """Return an encrypting AES object for (key, mode) or (key, mode, iv), from the best source at
    hand."""
    factory: "Callable[..., Cipher] | None" = _installed["aes"] or _built_in_aes
    if factory:
        return factory(key, mode, *iv)
    from agent.crypto.aes import Aes

    return Aes(key, mode, *iv)


def point_sum() -> "PointSum | None":
    """Return the installed `point_sum`, or None when P-256 is to use its own arithmetic."""
    return _installed["point_sum"]


def sha384() -> "Digest | None":
    """Return the installed `sha384`, or None: then agent.crypto.sha384 makes the digest itself, in
    slices."""
    return _installed["sha384"]
