"""What dealers say of who holds their shares, against what the holders say.

A dealer that has dealt nothing can say that all hold its shares, and a holder can deny what it
holds: of one pair nobody can tell who lies. So words are compared only where it matters, and then
the one whose word differs from most others' is the one that is believed least. One liar among
honest members is in dispute with all of them, and each of them with nobody else.
"""

from collections.abc import Iterable, Mapping

from broker.coordinator.protocols.private_sum import roll_call


def holders(dealer: int, among: int, holds: Mapping[int, int]) -> int:
    """Return who of the members `among` holds the dealer's shares by its own word; the dealer
    itself needs none. `holds` maps each member to whose shares it holds."""
    others = (index for index in roll_call.members(among) if holds.get(index, 0) >> dealer & 1)
    return roll_call.bitmap(others) | (1 << dealer & among)


def believed_least(harmed: Iterable[int], among: int, held: Mapping[int, int], holds: Mapping[int, int]) -> int:
    """Return the members whose word has to be false, or is believed least, for each of the dealers
    `harmed` to be right about its holders: a bitmap.

    `held` maps a dealer to those that hold its shares, as it says.
    """
    disputes = {
        (dealer, index)
        for dealer in harmed
        for index in roll_call.members(held.get(dealer, 0) & among & ~holders(dealer, among, holds))
    }
    liars = 0
    while disputes:
        involved = [index for dispute in disputes for index in dispute]
        # Of two with as many disputes it is the dealer: nobody can take its place, by its doing.
        dealers = {dealer for dealer, _ in disputes}
        worst = max(sorted(set(involved)), key=lambda index: (involved.count(index), index in dealers))
        liars |= 1 << worst
        disputes = {dispute for dispute in disputes if worst not in dispute}
    return liars
