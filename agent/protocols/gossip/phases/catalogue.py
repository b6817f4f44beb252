"""The phases by name. Each is loaded when a plan first needs it: a board that runs gossip has no
heap for the others' code.

A part is made as Part(node, phase, before), where `before` is the preceding phase's part or None. It has
- shape(plan), static: (rounds, sixteenths of a cell in a message of the busiest round, on average; bytes of a cell);
- enter(r): round r of the phase begins, its message is not sent yet;
- take(r, cells): the predecessor's message of round r, at most `capacity` cells of `cell_size` bytes each;
- end(): the phase's last round was left.
The last three return None, or a generator of short steps if there is more work than a moment's.
"""


def part(name):
    """Return the class of the phase `name`."""
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
