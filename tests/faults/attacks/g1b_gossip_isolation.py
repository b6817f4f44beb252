"""A query that lists all absent but the victim and two colluders is answered.

Two colluders are what the roster tolerates (t = 2). The sum less the colluders' own values is the
victim's reading.

What must hold: the living members are at least the colluders that a query is to bear and the
policy's least number of honest ones.
"""

from agent.protocols.gossip.plan import Plan
from agent.protocols.gossip.query_function import function_of
from broker.coordinator.protocols.gossip.results import NotAccepted
from tests.agent.gossip.test_gossip_machine import answer_of
from tests.faults.verdict import Verdict
from tests.support.street_of_askers import Street

VALUES = [1000 + 111 * index for index in range(11)]
VICTIM, COLLUDERS = 4, (7, 9)


def ask(street: Street, number: int, absent: int) -> tuple[int, int] | None:
    """Return (how many were counted, the sum), or None if there is no answer."""
    street.ask(street.query(number, "sum", absent=absent))
    street.run()
    try:
        count, state = answer_of(street, Plan("gossip", number, len(VALUES), 2, function_of("sum", [], None)))
    except NotAccepted:
        return None
    return count, state[2]


def fault() -> Verdict:
    street = Street(len(VALUES), 2, values=VALUES)
    street.start()
    assert ask(street, 1, 0) == (len(VALUES), sum(VALUES)), "a query to all is not answered"
    absent = sum(1 << index for index in range(len(VALUES)) if index not in (VICTIM, *COLLUDERS))
    own = sum(VALUES[index] for index in COLLUDERS)
    answers = [ask(street, number, absent) for number in (2, 3, 4)]
    told = sum(answer is not None and answer[1] - own == VALUES[VICTIM] for answer in answers)
    return Verdict(told > 0, f"the victim's reading from {told} of 3 queries to it and two colluders")
