"""What a Mosquitto that runs already has to be told, for `hum init --existing-broker`."""

from pathlib import Path

from broker.files import replace

NAME = "fragment.conf"
# How it runs is its operator's.
ITS_OWN = ("listener", "certfile", "keyfile", "user", "log_dest", "log_type", "persistence")
TEXT = """\
# For the configuration of the Mosquitto that runs already; then restart it. `hum doctor` tries
# whether all of it is in force. Limits are the whole broker's: leave out those that its other
# users cannot do with.
#
# A Mosquitto with users of its own has files of its own: leave out password_file and acl_file, and
# add to its files what is in {passwords}
# and {access},
# again whenever a board comes or goes (kill -HUP has it take them up).
"""


def write(folder: Path) -> bool:
    """Write the fragment of the mosquitto.conf in `folder` beside it; tell whether it has
    changed."""
    lines = (folder / "mosquitto.conf").read_text().splitlines()
    kept = [line for line in lines if line.partition(" ")[0] not in ITS_OWN]
    head = TEXT.format(passwords=(folder / "passwords").resolve(), access=(folder / "access").resolve())
    data = (head + "\n".join(kept) + "\n").encode()
    path = folder / NAME
    if path.is_file() and path.read_bytes() == data:
        return False
    replace(path, data)
    return True
