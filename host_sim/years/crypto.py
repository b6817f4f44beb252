"""What makes simulated years affordable, and is for nothing else: a modulus of 256 bits, and P-256
from the `cryptography` package.

Production never sees the modulus: `parameters.load` knows no such name, and gives it out only
inside `toy_arithmetic()`.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from agent.crypto import accelerate, p256
from agent.joye_libert import parameters

TOY = "toy-256"
# The product of two primes below 2^128 that were made for this, and are of no use to anyone:
# 279728299464081350398628453568681773171 and 338702698474691384796899156030602454981.
TOY_N = "94744729868220921310985312993396190342007519478679465391034576430980781114751"


@contextmanager
def toy_arithmetic() -> Iterator[None]:
    """Have `parameters.load` know TOY, and signatures and key agreement be fast. For one process
    and one simulation at a time."""
    installed = accelerate._installed.copy()
    accelerate.use_host_libraries()
    accelerate.install(_Aes().new, accelerate.fast_powmod(), accelerate.point_sum())
    replaced: dict[str, Any] = {"sign": _Signer().sign, "verify_steps": _Verifier().verify_steps}
    kept = {name: getattr(p256, name) for name in replaced}
    load = parameters.load

    def load_toy(name: str, for_comparison: bool = False) -> Any:
        return parameters.Parameters(TOY, 256, TOY_N) if name == TOY else load(name, for_comparison)

    module: Any = parameters
    module.load = load_toy
    for name, function in replaced.items():
        setattr(p256, name, function)
    try:
        yield
    finally:
        module.load = load
        for name, function in kept.items():
            setattr(p256, name, function)
        accelerate.install(**installed)


class _Aes:
    """pycryptodome's AES, which keeps no state in ECB mode: its objects are made once a key, for
    there are few."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Any] = {}

    def new(self, key: bytes, mode: Any, *more: Any) -> Any:
        from Crypto.Cipher import AES

        if mode != AES.MODE_ECB:
            return AES.new(key, mode, *more)
        if key not in self._kept:
            self._kept[key] = AES.new(key, mode)
        return self._kept[key]


class _Signer:
    """Signs as agent.crypto.p256 does, with the same nonce; the few keys are made once."""

    def __init__(self) -> None:
        self._keys: dict[bytes, Callable[[bytes], bytes]] = {}

    def sign(self, private: bytes, message: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        if private not in self._keys:
            key = ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1())
            algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
            self._keys[private] = lambda data: key.sign(data, algorithm)
        r, s = utils.decode_dss_signature(self._keys[private](message))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class _Verifier:
    def __init__(self) -> None:
        self._keys: dict[bytes, Any] = {}

    def verify_steps(self, public: bytes, message: bytes, signature: bytes) -> Generator[None, None, bool]:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        public = bytes(public)
        if public not in self._keys:
            self._keys[public] = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
        yield
        if not isinstance(signature, bytes) or len(signature) != 64:
            return False
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        try:
            self._keys[public].verify(utils.encode_dss_signature(r, s), bytes(message), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True
