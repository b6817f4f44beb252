"""Which names an operator may give to what is new: deployments, groups, devices, readers, slots,
labels.

Narrower than what boards take (agent/wire/topics.py): a name also has to stand on a command line,
in a file's name and in a host's name, where a dash first or last means something else. Folders that
have such a name from before go on.
"""

import re

from agent.wire import topics

ANNOUNCED_MOST = 3  # labels of a deployment, in a text of 255 bytes (broker/transport/announce.py)
LABEL = re.compile(r"[a-z0-9-]{1,32}(=[a-z0-9-]{1,32})?")
RULE = "1 to 32 of a-z, 0-9 and -, and no - first or last"


def fits(name: object) -> bool:
    """Tell whether `name` may be given to something new."""
    return isinstance(name, str) and topics.valid_name(name) and not name.startswith("-") and not name.endswith("-")


def fits_device(name: object) -> bool:
    """Tell whether `name` may be given to a new device: not those of the broker's own users."""
    return fits(name) and topics.valid_device(name)


def fits_label(label: object) -> bool:
    """Tell whether a group may have this label: NAME or NAME=VALUE."""
    return isinstance(label, str) and LABEL.fullmatch(label) is not None
