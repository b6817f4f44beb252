"""Anonymous queries, as the operator's side knows them: one machine for three protocols."""

from agent.crypto import CryptoError
from agent.protocols import QUERIES
from agent.protocols.base import Refused
from agent.protocols.gossip.roster_part import read_part
from agent.wire.messages import MessageError
from broker.coordinator.protocols.base import Declaration, Requests, RosterError, Workplace
from broker.coordinator.protocols.gossip import gateway, queries, roster, tables
from broker.coordinator.protocols.gossip.blind_signer import BlindSigner, BlindSignerError
from broker.coordinator.protocols.gossip.machine import UPLOADS, Gossip
from broker.coordinator.protocols.gossip.records import Saved
from broker.coordinator.schedule import Schedule
from broker.coordinator.scope import Scope


def make(scope: Scope, workplace: Workplace, schedule: Schedule, saved: Saved) -> Gossip:
    """Make the machine of one group, with what signs its tuples if it has any. Raises
    RosterError."""
    try:
        modulus = read_part(scope.roster.part)
        machine = Gossip(scope, workplace.private, workplace.result_key, schedule, saved)
        if modulus:
            machine.signs_in = workplace.folder
            signer = BlindSigner(workplace.folder)
            signer.close()
            if signer.modulus != modulus:
                raise RosterError("it names another signer of tuples")
    except (CryptoError, MessageError, Refused, BlindSignerError) as error:
        raise RosterError(str(error)) from None
    return machine


GOSSIP = Declaration(
    name="gossip",
    serves=QUERIES,
    make=make,
    saved=queries.saved,
    uploads=UPLOADS,
    says=("query", "result"),
    schema=tables.SCHEMA,
    roster=roster.RULES,
    requests=Requests(queries.waiting, Gossip.ask, queries.refused, gateway.ASKS),
    status=queries.status,
)
