"""What every protocol does alike: the machine and its actions, a board's identity and policy, the
roster, the overlay's arithmetic; and what all of them refuse."""

from agent.crypto.hmac import constant_time_equal


class Refused(Exception):
    """An input is against the protocol or the board's policy. args[0] is the named reason."""


def check_tag(tags: bytes, index: int, tag: bytes) -> None:
    """Raise Refused("bad-tag") unless those 16 bytes are the tag of the member `index`, of all
    members' `tags`."""
    if not constant_time_equal(tags[16 * index : 16 * index + 16], tag):
        raise Refused("bad-tag")
