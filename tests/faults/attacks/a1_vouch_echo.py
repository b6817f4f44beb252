"""A board that was shown no list vouches for one that a member told it.

One board of eight is shown a list that no other board is shown. It tells the others; each takes
the list from it and vouches for it in its turn, so that the one board believes that the cohort was
shown the same list, and answers it.

What must hold: a board vouches only for a list that it was shown itself.
"""

from agent.protocols.private_sum.mail import VOUCH
from agent.wire.envelope import Envelope
from tests.faults.verdict import Verdict
from tests.support.street_of_boards import ROLL, ROUND, Street, dealt

Letters = list[tuple[str, str, bytes]]


def vouches(street: Street, name: str) -> Letters:
    """Take the letters that a board vouches with: (receiver, topic, payload)."""
    device = street.devices[name]
    device.idle()
    sent, device.sent = device.sent, []
    mail = [(topic.split("/")[-2], topic, payload) for topic, payload in sent if "/mail/" in topic]
    return [letter for letter in mail if Envelope(letter[2]).nonce[0] == VOUCH]


def exchange(street: Street, shown: str) -> set[str]:
    """Carry the letters between `shown` and the others, three times; return who vouched to it."""
    vouched = set()
    for _ in range(3):
        for receiver, topic, payload in vouches(street, shown):
            street.devices[receiver].hear(topic, payload)
        for name in street.names:
            for receiver, topic, payload in vouches(street, name) if name != shown else ():
                if receiver == shown:
                    vouched.add(name)
                    street.devices[shown].hear(topic, payload)
        street.devices[shown].machine.retry()
    return vouched


def answered(street: Street, name: str) -> bool:
    street.devices[name].idle()
    return any(action[0] == "answer" for action in street.devices[name].done)


def fault() -> Verdict:
    street = dealt(8, audit=1)
    opening = street.opening(0)
    for device in street.devices.values():
        device.hear(ROUND, opening)
        device.sent = []
    shown = street.names[0]
    roll = street.roll(0, street.names[:-1])
    street.devices[shown].hear(ROLL, roll)
    vouched = exchange(street, shown)
    deceived = answered(street, shown)
    if not deceived:  # the control: shown to all, the list is answered
        for name in street.names[1:]:
            street.devices[name].hear(ROLL, roll)
        exchange(street, shown)
        assert answered(street, shown), "a list that all were shown is not answered"
    seen = f"{len(vouched)} boards vouched for a list that none of them was shown"
    return Verdict(bool(vouched), seen + ("; it was answered" if deceived else ""))
