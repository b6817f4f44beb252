"""Private sums, as the operator's side knows them."""

from agent.crypto import CryptoError
from agent.joye_libert.packing import PackingError
from agent.joye_libert.parameters import ParameterError
from agent.wire.messages import MessageError
from broker.coordinator.protocols.base import Declaration, RosterError, Workplace
from broker.coordinator.protocols.private_sum import migrations, reading, roster
from broker.coordinator.protocols.private_sum.machine import UPLOADS, PrivateSum
from broker.coordinator.protocols.private_sum.records import Saved
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope


def make(scope: Scope, workplace: Workplace, schedule: Schedule, saved: Saved) -> PrivateSum:
    """Make the machine of one group. Raises RosterError."""
    try:
        return PrivateSum(scope, workplace.private, workplace.result_key, schedule, saved, workplace.unix_time)
    except (ParameterError, PackingError, CryptoError, MessageError) as error:
        raise RosterError(str(error)) from None


PRIVATE_SUM = Declaration(
    name="private-sum",
    serves=("private-sum",),
    make=make,
    saved=reading.saved,
    uploads=UPLOADS,
    says=("round", "roll", "result", "active/+"),
    schema=migrations.SCHEMA,
    roster=roster.RULES,
    results=reading.shown,
    status=reading.status,
    past=reading.past,
)
