"""A share that is fetched for one job is not taken for another's: two jobs of a board fetch, and
their steps may come in between."""

from agent.protocols.private_sum.answers import RollCall


def run(steps, roll_call, shares, until=None):
    """Do steps as a runtime does, up to the one that fetches `until`, which is fetched too. Returns
    the result, or None."""
    try:
        while True:
            for action in next(steps) or ():
                if action[0] == "fetch":
                    roll_call.fetched(shares[action[1:]])
                    if action[1:] == until:
                        return None
    except StopIteration as done:
        return done.value


def test_an_answer_in_the_middle_of_a_fetch_does_not_change_what_was_fetched():
    roll_call = RollCall(None, lambda: 1)
    shares = {(None, 0): b"key of 0", (0, 1): b"blinding of 1", (0, 2): b"blinding of 2"}
    foreseeing = roll_call._fetch(None, 0)
    run(foreseeing, roll_call, shares, (None, 0))
    for peer in (1, 2):
        assert run(roll_call._fetch(0, peer), roll_call, shares) == b"blinding of %d" % peer
    assert run(foreseeing, roll_call, shares) == b"key of 0"
