"""Two queries that differ by one member that is announced absent give that member's exact reading,
under its name.

The coordinator is malicious and nobody colludes. The boards have the strictest policy there is: no
close list is ever answered.

What must hold: gossip protocols have the same rule of closeness, and the same durable record, as
private sums.
"""

from agent.protocols.base.policy import Policy
from broker.coordinator.protocols.gossip.results import NotAccepted
from tests.agent.gossip.test_gossip_machine import answer_of, plan_of
from tests.faults.verdict import Verdict
from tests.support.street_of_askers import Street

VALUES = [310, 1717, 220, 4711, 905, 44, 81, 230, 999, 1200, 333]
VICTIMS = 3


def ask(street: Street, protocol: str, number: int, absent: int) -> tuple[int, int] | None:
    """Return (how many were counted, the sum), or None if there is no answer."""
    street.ask(street.query(number, "sum", absent=absent))
    street.run()
    try:
        count, state = answer_of(street, plan_of(street, number, protocol=protocol))
    except NotAccepted:
        return None
    return count, state[2]


def attack(protocol: str, members: int) -> Verdict:
    strict = Policy(members_least=3, contributors_least=4, close=64, close_most=0)
    values = VALUES[:members]
    street = Street(members, 1, protocol=protocol, policy=strict, values=values)
    street.start()
    told = 0
    for victim in range(VICTIMS):
        everybody = ask(street, protocol, 2 * victim + 1, 0)
        assert victim or everybody == (members, sum(values)), "a query to all is not answered"
        rest = ask(street, protocol, 2 * victim + 2, 1 << victim)
        told += bool(everybody and rest) and everybody[1] - rest[1] == values[victim]
    return Verdict(told > 0, f"exact readings of {told} of {VICTIMS} boards, under their names", protocol)


def fault() -> list[Verdict]:
    return [attack("gossip", 6), attack("gossip-flood", 11)]
