"""What a policy has a budget for: the actions "burn" and "off-grid" of agent/runtime/effects.py, in
a module of its own that only a board that is asked for such has in its memory.

To burn the number of a query the list of who is asked is compared with those that were answered,
the query is paid for, and its number is burnt: each durably, before anything of the query leaves
the board. A round off the grid is paid for before its reading is taken.
"""

from agent.protocols.base import Refused, closeness
from agent.protocols.base.identity import OFF_GRID_PERIOD
from agent.protocols.gossip.privacy.budget import Budget, BudgetError
from agent.runtime.flash.masks import Spent
from agent.runtime.flash.store import Corrupt, Full, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.runtime.effects import Effects
_OF_ROUNDS = {"budget": "too-often", "spent": "replayed"}  # how refusals of rounds are called


def burn(effects: "Effects", epoch: int, number: int, cost: int | None, listed: list[str]) -> None:
    """Burn the `number` of a query that asks `listed` and costs `cost` millionths of epsilon, or
    decline it; tell the machine which."""
    masks, shares = effects.masks, effects.shares
    reason: str | None
    try:
        last = shares.answered()
        lists = closeness.Lists(closeness.unpack(last[2])[1] if last else b"")
        lists.answer(masks.total() + 1, listed, None, effects.machine.identity.policy)
        reason = _pay(effects, epoch, number, cost)
        if not reason:
            masks.burn(epoch, number)
            shares.answer(epoch, number, closeness.pack(0, lists.record()))
    except (StoreError, Full):
        reason = "flash"
    except Spent:
        reason = "spent"
    except Refused as error:
        reason = error.args[0]
    if reason:
        effects.do_all(effects.queries.declined(epoch, number, reason))
        return
    effects.around.note("query", {"number": number})
    effects.do_all(effects.queries.burnt(epoch, number))


def permit(effects: "Effects", epoch: int, round: int) -> bool:
    """Tell whether the policy allows this round off the grid: it is paid for, durably, or counted
    as refused. Raises StoreError, Full.

    It is paid for before there is a reading, so that nothing that fails later gives it back: an
    opening that comes again is refused if the board has not sent anything.
    """
    policy, machine = effects.machine.identity.policy, effects.machine
    reason: str | None = "off-grid"
    if policy.off_grid:
        # A budget's numbers begin with 1, rounds with 0.
        reason = _spend(effects, "off-grid", policy.off_grid, OFF_GRID_PERIOD, epoch, round + 1, 1)
    if reason:
        machine.refuse(_OF_ROUNDS.get(reason, reason))
    return not reason


def _pay(effects: "Effects", epoch: int, number: int, cost: int | None) -> str | None:
    """Take a query's cost from the budget, durably; return why that is not possible, or None."""
    policy = effects.machine.identity.policy
    if policy.epsilon is None:
        return None
    return _spend(effects, "budget", policy.epsilon, policy.epsilon_period, epoch, number, cost)


def _spend(
    effects: "Effects", record: str, total: int, period: int, epoch: int, number: int, cost: int | None
) -> str | None:
    """Take a cost from the budget of `total` in `period` seconds whose record that is."""
    store, now, budget = effects.store, effects.clock.uptime(), effects.budget
    try:
        if budget is None:
            budget = effects.budget = Budget(total, period, effects.started, store.read(record))
        store.put(record, budget.spend(epoch, number, cost, now))
    except BudgetError as error:
        noted = budget.note(now) if budget and error.args[0] == "budget" else None
        if noted:
            store.put(record, noted)
        return str(error.args[0])
    except Corrupt:
        return "corrupt"
    return None
