"""Bookmarks of programs of before, which knew one register, the slot "load": version 2 (base, seen,
carried, owed, the identity's hash) and version 1 (what is settled, spent, seen, the identity's
hash); numbers of 64 bits, signed."""

import struct

from agent.meters.account import GONE, Account

_HEADS = {1: ">Bqqq4s", 2: ">Bqqqq4s"}


def unpack(body: bytes) -> Account | None:
    """Return the account of a bookmark without its check; None if it is of neither version."""
    head = _HEADS.get(body[0])
    if not head or len(body) != struct.calcsize(head):
        return None
    account = Account()
    account.age = GONE
    if body[0] == 2:
        _, account.base, account.seen, account.carried, account.owed, account.identity = struct.unpack(head, body)
    else:
        _, settled, account.base, account.seen, account.identity = struct.unpack(head, body)
        account.carried = (account.base or 0) - settled
    account.sure = account.seen
    return account
