"""Arithmetic that costs little: for tests of many rounds, in which it would take most of the time
and is not what is tested."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from unittest import mock

from Crypto.Cipher import AES

from agent.crypto import accelerate
from agent.joye_libert import blinding, moduli, parameters


@contextmanager
def remembered() -> Iterator[None]:
    """Use the host's libraries, and compute each power, sum of points and coefficient once: in
    every example the keys are the same."""
    accelerate.use_host_libraries()
    powmod, point_sum, coefficient = accelerate.fast_powmod(), accelerate.point_sum(), blinding._coefficient
    sum_of = lru_cache(4096)(lambda terms: point_sum(list(terms)))
    fields: dict[int, Any] = {}

    @lru_cache(65536)
    def coefficient_in(seed: bytes, round_number: int, j: int, bits: int) -> int:
        return int(coefficient(seed, round_number, j, fields[bits]))

    def coefficient_of(seed: bytes, round_number: int, j: int, field: Any) -> int:
        fields.setdefault(field.bits, field)
        return coefficient_in(seed, round_number, j, field.bits)

    accelerate.install(aes=AES.new, powmod=lru_cache(8192)(powmod), point_sum=lambda terms: sum_of(tuple(terms)))
    try:
        with mock.patch.object(blinding, "_coefficient", coefficient_of):
            yield
    finally:
        accelerate.install()


@contextmanager
def small_modulus() -> Iterator[None]:
    """Take the modulus of the paper for that of "hum-2048": an eighth of the work, and nothing but
    sizes and numbers differs."""
    small = parameters.Parameters("hum-2048", 1024, moduli.RSA_1024)
    with mock.patch.object(parameters, "load", lambda name: small):
        yield
