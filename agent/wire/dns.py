"""The part of DNS (RFC 1035) that finds a broker: multicast (RFC 6762) service discovery (RFC 6763)
and a host's addresses.

A name is kept as it stands in an uncompressed message, each label behind its length, in lower case:
two names are the same (RFC 1035, section 2.3.3) exactly when these bytes are, whatever dots and
other bytes their labels contain.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    # (priority, port, hosts, deployment, labels)
    Service = tuple[int, int, list[str], bytes | None, bytes | None]

SIZE_LIMIT = 1500  # bytes of one message
RECORDS_MOST = 32  # in one message
NAME_MOST = 255  # bytes (RFC 1035, section 2.3.4)
# Labels and pointers of one name; ours have four labels, and reading a thousand would hold a board
# up.
STEPS_MOST = 24
HEADER = 12  # bytes

SERVICE = b"\x04_hum\x04_tcp\x05local\x00"
A, CNAME, PTR, TXT, SRV = 1, 5, 12, 16, 33  # types of records (RFC 1035, section 3.2.2; RFC 2782)
IN = 1  # the class of all of them
# In a class: unicast answers are welcome (RFC 6762, section 5.4), or others are outdated (10.2).
TOP_BIT = 0x8000
ANSWER = 0x8000  # in the flags of the header
OPCODE_RCODE = 0x780F


class DnsError(Exception):
    """Not a message that is of use. args[0] is the reason, and holds none of the data:

    "too-large", "truncated", "trailing", "not-an-answer" (a question, another kind of message or an
    error), "wrong-identifier", "too-many" (questions or records), "label" (a length that is none),
    "pointer" (one that does not lead back to an earlier name), "name-too-long" or "data" (contents
    of a record that are not what its type has).
    """


def query(identifier: bytes) -> bytes:
    """The question which instances of _hum._tcp.local there are, in bytes. `identifier` is two
    bytes; the answer repeats it."""
    return identifier + b"\0\0\0\1\0\0\0\0\0\0" + SERVICE + _be16(PTR) + _be16(IN | TOP_BIT)


def services(message: bytes, identifier: bytes) -> "list[Service]":
    """Return what `message` (bytes), an answer to query(identifier), offers: a list of (priority,
    port, hosts, deployment, labels).

    priority, 0 to 65535, is better the lower it is; port is 1 to 65535; hosts are one or more IPv4
    addresses "a.b.c.d" in the message's order; deployment and labels are the values of the keys "d"
    and "l" as bytes, None where there is none. The list is in the order of the priorities, then the
    names. An instance without its place, its text or an address in the same message is left out;
    RFC 6763, section 12.1, wants them there. Raises DnsError.
    """
    instances: list[bytes] = []
    places: dict[bytes, tuple[int, int, bytes]] = {}
    texts: "dict[bytes, tuple[bytes | None, bytes | None]]" = {}
    hosts: dict[bytes, list[str]] = {}
    for kind, name, at, end in _records(message, identifier):
        if message[at - 6 : at - 2] == b"\0\0\0\0":
            # No time to live: a farewell here (RFC 6762, section 10.1), and usual from a name
            # server.
            continue
        if kind == PTR and name == SERVICE:
            instances.append(_whole_name(message, at, end))
        elif kind == SRV and name.endswith(SERVICE):
            places.setdefault(name, _place(message, at, end))
        elif kind == TXT and name.endswith(SERVICE):
            texts.setdefault(name, (_value(message, at, end, b"d="), _value(message, at, end, b"l=")))
        elif kind == A:
            if end - at != 4:
                raise DnsError("data")
            hosts.setdefault(name, []).append("%d.%d.%d.%d" % tuple(message[at:end]))
    found = []
    for name in set(instances):
        if name in places and name in texts and places[name][2] in hosts:
            priority, port, target = places[name]
            found.append((priority, name, port, hosts[target], texts[name]))
    found.sort(key=lambda service: service[:2])
    return [(priority, port, addresses) + text for priority, _, port, addresses, text in found]


def lookup(identifier: bytes, name: str) -> bytes:
    """The question to a name server for the IPv4 addresses of the host `name`. Raises
    DnsError("label") for what is no name."""
    labels = [label.encode() for label in name.rstrip(".").split(".")]
    if not all(1 <= len(label) <= 63 for label in labels) or len(name) > NAME_MOST - 2:
        raise DnsError("label")
    packed = b"".join([bytes([len(label)]) + label for label in labels]) + b"\0"
    # 1: recursion desired.
    return identifier + b"\1\0\0\1\0\0\0\0\0\0" + packed + _be16(A) + _be16(IN)


def addresses(message: bytes, question: bytes) -> list[str]:
    """Return the IPv4 addresses "a.b.c.d" that `message` has for the name in `question`, which
    lookup() made: at most 32. Raises DnsError.

    Those of other names are none of its: a name that has only IPv6 addresses comes with those of
    its name servers. Aliases (CNAME) are followed, in whatever order they stand.
    """
    name = question[HEADER:-4].lower()
    found: dict[bytes, list[str]] = {}
    aliases: dict[bytes, bytes] = {}
    for kind, owner, at, end in _records(message, question[:2]):
        if kind == A:
            if end - at != 4:
                raise DnsError("data")
            found.setdefault(owner, []).append("%d.%d.%d.%d" % tuple(message[at:end]))
        elif kind == CNAME:
            aliases.setdefault(owner, _whole_name(message, at, end))
    for _ in range(RECORDS_MOST):  # or one that leads back to itself would go round for ever
        if name in found or name not in aliases:
            break
        name = aliases[name]
    return [address for address in found.get(name, []) if 1 <= int(address.split(".")[0]) <= 223]


def _records(message: bytes, identifier: bytes) -> list[tuple[int, bytes, int, int]]:
    """Return [(type, name, where its data begin, where they end)] of all records of the class
    IN."""
    if len(message) > SIZE_LIMIT:
        raise DnsError("too-large")
    if len(message) < HEADER:
        raise DnsError("truncated")
    if message[:2] != identifier:
        raise DnsError("wrong-identifier")
    if _u16(message, 2) & (ANSWER | OPCODE_RCODE) != ANSWER:
        raise DnsError("not-an-answer")
    count = _u16(message, 6) + _u16(message, 8) + _u16(message, 10)
    if _u16(message, 4) > 1 or count > RECORDS_MOST:
        raise DnsError("too-many")
    at = HEADER
    for _ in range(_u16(message, 4)):
        at = _skip(message, _name(message, at)[1], 4)
    records = []
    for _ in range(count):
        name, fields = _name(message, at)
        start = _skip(message, fields, 10)
        at = _skip(message, start, _u16(message, fields + 8))
        if _u16(message, fields + 2) & ~TOP_BIT == IN:
            records.append((_u16(message, fields), name, start, at))
    if at != len(message):
        raise DnsError("trailing")
    return records


def _name(message: bytes, at: int) -> tuple[bytes, int]:
    """Return (the name that begins at `at`, where the message goes on behind it).

    A pointer must lead to before everything of this name that was read so far, so that no chain of
    them goes round.
    """
    name = bytearray()
    behind = 0
    earliest = at
    for _ in range(STEPS_MOST):
        length = message[_skip(message, at, 1) - 1]
        if length >= 0xC0:
            after = _skip(message, at, 2)
            target = (length & 0x3F) << 8 | message[at + 1]
            if not HEADER <= target < earliest:
                raise DnsError("pointer")
            behind = behind or after
            at = earliest = target
            continue
        if length > 63:
            raise DnsError("label")
        after = _skip(message, at, 1 + length)
        if len(name) + 1 + length > NAME_MOST:
            raise DnsError("name-too-long")
        name.extend(message[at:after])
        at = after
        if length == 0:
            return bytes(name).lower(), behind or at  # a length is below "A"
    raise DnsError("name-too-long")


def _whole_name(message: bytes, at: int, end: int) -> bytes:
    """Return the name that fills the data of a record."""
    name, behind = _name(message, at)
    if behind != end:
        raise DnsError("data")
    return name


def _place(message: bytes, at: int, end: int) -> tuple[int, int, bytes]:
    """Return (priority, port, name of the host) of an SRV record; its weight is for those who
    spread a load."""
    if end - at < 7 or _u16(message, at + 4) == 0:
        raise DnsError("data")
    return _u16(message, at), _u16(message, at + 4), _whole_name(message, at + 6, end)


def _value(message: bytes, at: int, end: int, key: bytes) -> bytes | None:
    """Return the value of the first `key`, such as b"d=", among the strings of a TXT record (RFC
    6763, section 6.4), or None."""
    value = None
    while at < end:
        after = at + 1 + message[at]
        if after > end:
            raise DnsError("data")
        if value is None and message[at + 1 : at + 3].lower() == key and after >= at + 3:
            value = message[at + 3 : after]
        at = after
    return value


def _skip(message: bytes, at: int, count: int) -> int:
    if at + count > len(message):
        raise DnsError("truncated")
    return at + count


def _u16(message: bytes, at: int) -> int:
    return message[at] << 8 | message[at + 1]


def _be16(number: int) -> bytes:
    return number.to_bytes(2, "big")
