"""Burning the number of a query: the action "burn" of agent/runtime/effects.py, in a module of its
own that only a board with queries has in its memory.

The list of who is asked is compared with those that were answered, the query is paid for, and its
number is burnt: each durably, before anything of the query leaves the board.
"""

from agent.protocols.base import Refused, closeness
from agent.protocols.gossip.privacy.budget import Budget, BudgetError
from agent.runtime.flash.masks import Spent
from agent.runtime.flash.store import Corrupt, Full, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.runtime.effects import Effects


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


def _pay(effects: "Effects", epoch: int, number: int, cost: int | None) -> str | None:
    """Take a query's cost from the budget, durably; return why that is not possible, or None."""
    policy, store = effects.machine.identity.policy, effects.store
    if policy.epsilon is None:
        return None
    now, budget = effects.clock.uptime(), effects.budget
    try:
        if budget is None:
            last = store.read("budget")
            budget = effects.budget = Budget(policy.epsilon, policy.epsilon_period, effects.started, last)
        store.put("budget", budget.spend(epoch, number, cost, now))
    except BudgetError as error:
        noted = budget.note(now) if budget and error.args[0] == "budget" else None
        if noted:
            store.put("budget", noted)
        return str(error.args[0])
    except Corrupt:
        return "corrupt"
    return None
