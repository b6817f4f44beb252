"""What a board is given before it joins: its place, its key pair, the key that it obeys, and its policy."""


class Provision:
    """deployment, group, device: names. private, public: this board's P-256 pair. authority: the pinned 65-byte key.

    Policy: `members_least`, the smallest group that the board takes part in. `masks_target`: how many rounds ahead it keeps
    masks for; it refills when fewer than a quarter of them are left.
    """

    def __init__(self, deployment, group, device, private, public, authority, members_least=3, masks_target=8):
        self.deployment = deployment
        self.group = group
        self.device = device
        self.private = private
        self.public = public
        self.authority = authority
        self.members_least = members_least
        self.masks_target = masks_target
