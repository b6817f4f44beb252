"""The moduli N that a roster may name."""

# The RSA Factoring Challenge numbers: their factors were destroyed by those who made them and nobody is known to hold them.
# RSA-2048 has 617 decimal digits (digit sum 2738), RSA-1024 has 309.
_RSA_2048 = (
    "25195908475657893494027183240048398571429282126204032027777137836043662020707595556264018525880784406918290641249"
    "51508218929855914917618450280848912007284499268739280728777673597141834727026189637501497182469116507761337985909"
    "57000973304597488084284017974291006424586918171951187461215151726546322822168699875491824224336372590851418654620"
    "43576798423387184774447920739934236584823824281198163815010674810451660377306056201619676256133844143603833904414"
    "95263443219011465754445417842402092461651572335077870774981712577246796292638635637328991215483143816789988504044"
    "5364023527381951378636564391212010397122822120720357"
)
_RSA_1024 = (
    "13506641086599522334960321627880596993888147560566702752448514385152651060485953383394028715057190944179820728216"
    "44715513736804197039641917430464965892742562393410208643832021103729587257623585096431105640735015081875106765946"
    "29205563685529475213500852879416377328533906109750544334999811150056977236890927563"
)


class ParameterError(Exception):
    """The parameter set is unknown, or known and not fit for use."""


class Parameters:
    """A modulus and its sizes: `n` the integer N, `bits` = |N|, `modulus_bytes` = |N|/8, `residue_bytes` = 2|N|/8."""

    def __init__(self, name, bits, decimal):
        self.name = name
        self.bits = bits
        self.n = int(decimal)
        self.modulus_bytes = bits // 8
        self.residue_bytes = bits // 4


def load(name, for_comparison=False):
    """Return the Parameters called `name`.

    "hum-2048" is for use. "paper-1024" is the size of the paper's experiments (Appendix A), below today's margin, and is
    given out only `for_comparison` in tests and benchmarks. Raises ParameterError otherwise.
    """
    if name == "hum-2048":
        return Parameters(name, 2048, _RSA_2048)
    if name == "paper-1024" and for_comparison:
        return Parameters(name, 1024, _RSA_1024)
    raise ParameterError("unknown or refused parameters")
