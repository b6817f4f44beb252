"""A board's identity and policy: its names, its key pair and the authority's public key, all given
before it joins."""

CLOSE_WINDOW = 48  # contributions of a board over which its close lists are counted
EPSILON_PERIOD = 86400  # seconds
OFF_GRID_PERIOD = 86400  # seconds


TYPE_CHECKING = False
if TYPE_CHECKING:
    from agent.protocols.base.actions import Slots


class Policy:
    """The limits of what a board takes part in; the defaults hold unless the authority signs
    others.

    `members_least`: the smallest cohort that it takes part in, 2 to 64. `contributors_least`: the
    fewest listed members with which it answers a roll call, 2 to 64. `slots`: None for any, or a
    list of 1 to 48 (name, low, high), what a roster may ask for. `close`, 1 to 64, and
    `close_most`, 0 to 48: a list other than the last one answered, that differs by fewer than
    `close` members from one of the last eight (agent/protocols/base/closeness.py), is answered at
    most `close_most` times in any CLOSE_WINDOW contributions of this board: the difference of two
    sums is the sum over the members that are in one list only. With `close` 1 no list is close. As
    many contributions have energy that an earlier one had, at most. `epsilon`: millionths that
    anonymous queries may take from its budget in `epsilon_period` seconds
    (agent/protocols/gossip/privacy/budget.py); None for no budget, so queries without noise, too.
    `off_grid`: how many rounds of sums off the grid it takes part in within OFF_GRID_PERIOD
    seconds, 0 to OFF_GRID_MOST (policy.py).
    """

    def __init__(
        self,
        members_least: int = 3,
        contributors_least: int = 3,
        slots: "Slots | None" = None,
        close: int = 2,
        close_most: int = 8,
        epsilon: int | None = None,
        epsilon_period: int = EPSILON_PERIOD,
        off_grid: int = 0,
    ) -> None:
        self.members_least = members_least
        self.contributors_least = contributors_least
        self.slots = slots
        self.close = close
        self.close_most = close_most
        self.epsilon = epsilon
        self.epsilon_period = epsilon_period
        self.off_grid = off_grid

    def allows(self, slots: "Slots") -> bool:
        """Tell whether a roster may ask for `slots`: each is one of the policy's by name, and its
        range lies inside."""
        if self.slots is None:
            return True
        ranges = {name: (low, high) for name, low, high in self.slots}
        return all(name in ranges and ranges[name][0] <= low and high <= ranges[name][1] for name, low, high in slots)


class Identity:
    """deployment, group, device: names. private, public: this board's P-256 pair. authority: the
    pinned 65-byte key.

    policy: a Policy, None for the safe one. `masks_target`: how many rounds ahead it keeps masks
    for; it refills when fewer than a quarter of them are left.
    """

    def __init__(
        self,
        deployment: str,
        group: str,
        device: str,
        private: bytes,
        public: bytes,
        authority: bytes,
        policy: Policy | None = None,
        masks_target: int = 8,
    ) -> None:
        self.deployment = deployment
        self.group = group
        self.device = device
        self.private = private
        self.public = public
        self.authority = authority
        self.policy = policy or Policy()
        self.masks_target = masks_target
