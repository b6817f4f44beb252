"""What a RegisterMeter must know after a reset, in a few bytes that go into the flash with each
spend.

    3, the round that was read last, how many identities, 4 bytes of each; then of each register
        slot (3 bits), 3 bits of 0, whether there is a gap, whether there is a doubt (1 each)
        number of its identity in the list, from 1, 0 for none; of the doubt's (4 bits each)
        age; base, seen - base (signed), seen - sure, carried, owed
        the gap, what was gained since
        the doubt: first total, last - first, readings, rounds
    the first 4 bytes of SHA-256 of all that

Numbers are LEB128: 7 bits a byte, the low ones first; signed ones are turned to 2n, or to -2n - 1
below 0. A household's register takes some 20 bytes, seven of them some 110.
"""

from hashlib import sha256

from agent.meters.account import GONE, Account

BOOKMARK_MAX = 240
REGISTERS = ("load", "export", "load-t1", "load-t2", "gas", "water", "heat")

_VERSION = 3
_CHECK = 4
_NUMBER_MOST = 10  # bytes


class BookmarkError(Exception):
    """A bookmark is damaged, or of a version to come."""


def pack(round: int, accounts: "dict[str, Account]") -> bytes:
    """Return the bookmark of the round that was read last and of accounts by slot; they are of
    REGISTERS, and have been met.

    A register that does not fit into 240 bytes any more is left out: seven of them of 10^12 each
    might not.
    """
    identities: list[bytes] = []
    registers = b""
    head = bytearray([_VERSION])
    _put(head, round)
    for name in REGISTERS:
        if name in accounts:
            known = len(identities)
            record = _pack_account(REGISTERS.index(name), accounts[name], identities)
            if len(head) + 1 + 4 * len(identities) + len(registers) + len(record) + _CHECK <= BOOKMARK_MAX:
                registers += record
            else:
                del identities[known:]
    body = bytes(head) + bytes([len(identities)]) + b"".join(identities) + registers
    return body + sha256(body).digest()[:_CHECK]


def unpack(bookmark: bytes) -> "tuple[int | None, dict[str, Account]]":
    """Return (the round that was read last, accounts by slot) of a bookmark, of this version or one
    before, which had no round. Raises BookmarkError."""
    body = bookmark[:-_CHECK]
    if len(body) < 2 or bookmark[-_CHECK:] != sha256(body).digest()[:_CHECK]:
        raise BookmarkError("check")
    if body[0] != _VERSION:
        from agent.meters import bookmark_before

        account = bookmark_before.unpack(body)
        if not account:
            raise BookmarkError("version")
        return None, {"load": account}
    identities, accounts = [bytes(4)], {}
    try:
        round, at = _get(body, 1)
        end = at + 1 + 4 * body[at]
        identities += [body[start : start + 4] for start in range(at + 1, end, 4)]
        at = end
        while at < len(body):
            name = REGISTERS[body[at] >> 5]
            accounts[name], at = _unpack_account(body, at, identities)
    except IndexError:
        raise BookmarkError("form") from None
    if not accounts:
        raise BookmarkError("form")
    return round, accounts


def _pack_account(slot: int, account: Account, identities: list[bytes]) -> bytes:
    base, doubt = account.base or 0, account.doubt
    of = _place(account.identity, identities) << 4
    if doubt:
        of |= _place(doubt[4], identities)
    record = bytearray([slot << 5 | (account.gap > 0) << 1 | (doubt is not None), of])
    _put(record, account.age)
    ahead = account.seen - base
    _put(record, _signed(base))
    _put(record, _signed(ahead))
    for number in (account.seen - account.sure, account.carried, account.owed):
        _put(record, number)
    if account.gap:
        _put(record, account.gap)
        _put(record, account.risen)
    if doubt:
        _put(record, doubt[0])
        _put(record, doubt[1] - doubt[0])
        record.append(doubt[2])
        _put(record, doubt[3])
    return bytes(record)


def _unpack_account(body: bytes, at: int, identities: list[bytes]) -> tuple[Account, int]:
    """Return the account at `at`, and where the next begins. Raises IndexError, BookmarkError."""
    account = Account()
    head, of = body[at], body[at + 1]
    account.age, at = _get(body, at + 2)
    account.identity = identities[of >> 4]
    base, at = _get(body, at)
    ahead, at = _get(body, at)
    account.base = _unsigned(base)
    account.seen = account.base + _unsigned(ahead)
    since, at = _get(body, at)
    account.sure = account.seen - since
    account.carried, at = _get(body, at)
    account.owed, at = _get(body, at)
    if head & 2:
        account.gap, at = _get(body, at)
        account.risen, at = _get(body, at)
    if head & 1:
        first, at = _get(body, at)
        gained, at = _get(body, at)
        rounds, end = _get(body, at + 1)
        account.doubt = first, first + gained, body[at], rounds, identities[of & 15]
        at = end
    if account.age > GONE:
        raise BookmarkError("form")
    return account, at


def _place(identity: bytes, identities: list[bytes]) -> int:
    """Return the number of `identity` in the list, from 1, and add it if need be; 0 if it is
    unknown."""
    if not any(identity):
        return 0
    if identity not in identities:
        identities.append(identity)
    return identities.index(identity) + 1


def _signed(number: int) -> int:
    return 2 * number if number >= 0 else -2 * number - 1


def _unsigned(number: int) -> int:
    return number >> 1 if not number & 1 else -(number >> 1) - 1


def _put(record: bytearray, number: int) -> None:
    while number > 127:
        record.append(number & 127 | 128)
        number >>= 7
    record.append(number)


def _get(body: bytes, at: int) -> tuple[int, int]:
    """Return the number at `at`, and where the next begins. Raises IndexError, BookmarkError."""
    number = shift = 0
    while body[at] > 127:
        number |= (body[at] & 127) << shift
        shift += 7
        at += 1
        if shift > 7 * _NUMBER_MOST:
            raise BookmarkError("number")
    return number | body[at] << shift, at + 1
