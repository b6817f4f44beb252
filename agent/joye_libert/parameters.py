"""The parameter sets that a roster may name."""


class ParameterError(Exception):
    """The parameter set is unknown, or known and not fit for use."""


class Parameters:
    """A modulus and its sizes: `n` the integer N, `bits` = |N|, `modulus_bytes` = |N|/8,
    `residue_bytes` = 2|N|/8, `exponent_bytes` one more: less than 2*64 + 1 keys of 2|N| bits add up
    to an exponent."""

    def __init__(self, name: str, bits: int, decimal: str) -> None:
        self.name = name
        self.bits = bits
        self.n = int(decimal)
        self.modulus_bytes = bits // 8
        self.residue_bytes = bits // 4
        self.exponent_bytes = bits // 4 + 1


def load(name: str, for_comparison: bool = False) -> Parameters:
    """Return the Parameters called `name`.

    "hum-2048" is for use. "paper-1024" is the size of the paper's experiments (Appendix A), below
    today's margin, and is given out only `for_comparison` in tests and benchmarks. Raises
    ParameterError otherwise.
    """
    from agent.joye_libert import moduli  # their digits take more room than the numbers

    if name == "hum-2048":
        return Parameters(name, 2048, moduli.RSA_2048)
    if name == "paper-1024" and for_comparison:
        return Parameters(name, 1024, moduli.RSA_1024)
    raise ParameterError("unknown or refused parameters")
