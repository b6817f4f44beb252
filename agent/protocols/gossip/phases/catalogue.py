"""The phases by name. Each is loaded when a plan first needs it: a board that runs gossip has no
heap for the others' code. What a phase is: agent/protocols/gossip/ports.py.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.gossip.ports import PhaseKind


def load(name: str) -> "PhaseKind":
    """Return the class of the phase `name`. ValueError for another name."""
    if name == "shuffle":
        from agent.protocols.gossip.phases.shuffle import Shuffle

        return Shuffle
    if name == "echo":
        from agent.protocols.gossip.phases.echo import Echo

        return Echo
    if name == "survey":
        from agent.protocols.gossip.phases.survey import Survey

        return Survey
    if name in ("scatter", "gather"):
        from agent.protocols.gossip.phases import relays

        return relays.Scatter if name == "scatter" else relays.Gather
    if name.startswith("multicast-"):
        from agent.protocols.gossip.phases.agreement import Multicast

        return Multicast(int(name[len("multicast-") :]))
    raise ValueError("no such phase")
