"""What a coordinator's machine wants computed, computed at once: where time is simulated, or nobody
waits."""

from collections.abc import Sequence

from broker.coordinator.actions import Action, Compute
from broker.coordinator.machine import Machine


def at_once(machine: Machine, actions: Sequence[Action], now: float) -> list[Action]:
    """Return `actions` with all that comes of each job in the job's place."""
    done: list[Action] = []
    for action in actions:
        if isinstance(action, Compute):
            done += at_once(machine, machine.computed(action.key, action.job(), now), now)
        else:
            done.append(action)
    return done
