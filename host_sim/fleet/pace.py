"""How fast this machine is now: a fleet needs more seconds when other programs run beside it."""

import time

MODULUS = (1 << 2048) - 1_942_289
# One power of 2048 bits takes that long on the machine that the fleets' times were measured on,
# when it has nothing else to do.
POWER_S = 0.018
LEAST_S = 0.4  # longer than a scheduler lets one program wait for another
LONGEST = 8.0  # times; beyond that a fleet is of no use


def pace() -> float:
    """Return how many times longer work takes now than it did where the fleets' times were
    measured, 1 to LONGEST. It is measured in half a second."""
    powers, started = 0, time.monotonic()
    while (taken := time.monotonic() - started) < LEAST_S:
        powers += 1
        pow(3 + powers, MODULUS - 1, MODULUS)
    return min(LONGEST, max(1.0, taken / (powers * POWER_S)))
