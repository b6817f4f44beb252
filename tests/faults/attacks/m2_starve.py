"""A member that repeats one valid letter keeps a board from making masks.

The member acknowledges nothing and sends its own key share over and over, always the same bytes.
Each copy makes the honest board make its key share for that member again, before any mask and past
its own back-off. So it is never ready.

What must hold: only what is new causes work.
"""

from agent.protocols.private_sum.mail import KEY_SHARE
from agent.wire.envelope import Envelope
from tests.faults.verdict import Verdict
from tests.support.street_of_boards import Street, mailbox

MASKS = 2
LETTERS = 300
STEPS = 60000
VICTIM, EVIL = "meter-a", "meter-d"


class Work:
    """Four boards without masks, one of them evil; `letters` were sent by it, `masks` made by the
    victim."""

    def __init__(self) -> None:
        self.letters = 0
        self.street = Street(4, rounds=0)
        for device in self.street.devices.values():
            device.machine.identity.masks_target = MASKS
            device.machine._own._masks_target = MASKS
            device.machine._own.refilling = True
        self.share = self._own_share()

    @property
    def masks(self) -> int:
        return sum(action[0] == "mask" for action in self.street.devices[VICTIM].done)

    def mail(self) -> list[tuple[str, str, str, bytes]]:
        """Take all letters: (sender, receiver, topic, payload)."""
        taken = []
        for name, device in self.street.devices.items():
            for topic, payload in device.sent:
                if "/mail/" in topic:
                    taken.append((name, topic.split("/")[-2], topic, payload))
            device.sent = []
        return taken

    def _own_share(self) -> bytes:
        """Return the letter with the evil board's key share for the victim."""
        for _ in range(4000):
            assert self.street.devices[EVIL].step(), "it deals no key shares"
            for sender, receiver, _, payload in self.mail():
                if (sender, receiver) == (EVIL, VICTIM) and Envelope(payload).nonce[0] == KEY_SHARE:
                    return payload
        raise AssertionError("it deals no key shares")

    def run(self, attack: bool) -> None:
        """Let the honest work until the victim has its masks, or LETTERS were sent by the evil
        board."""
        for _ in range(STEPS):
            if self.masks >= MASKS or self.letters >= LETTERS:
                return
            for name, device in self.street.devices.items():
                if name != EVIL:
                    device.step()
            for sender, receiver, topic, payload in self.mail():
                if receiver != EVIL:
                    self.street.devices[receiver].hear(topic, payload)
                elif attack and sender == VICTIM and Envelope(payload).nonce[0] == KEY_SHARE:
                    self.letters += 1
                    self.street.devices[VICTIM].hear(mailbox(VICTIM, EVIL), self.share)


def fault() -> Verdict:
    quiet = Work()
    quiet.run(attack=False)
    assert quiet.masks == MASKS, "the board makes no masks when nobody attacks it"
    attacked = Work()
    attacked.run(attack=True)
    assert attacked.letters, "the evil board has sent nothing"
    seen = f"{attacked.masks} masks made, {attacked.letters} letters answered with a new share each"
    return Verdict(attacked.masks < MASKS, seen)
