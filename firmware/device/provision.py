"""Making a board somebody's: its key pair, made on the board, and the settings that say what it
belongs to."""

import json
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.protocols.base import policy
from agent.wire import topics
from agent.wire.envelope import EnvelopeError
from agent.wire.messages import MessageError
from broker.authority import releases
from broker.authority.authority import Authority
from broker.authority.errors import AuthorityError
from broker.authority.keys import read_public
from broker.deploy.mosquitto.credentials import read_password
from broker.files import alone_in, replace
from firmware.boards import Board
from firmware.build import romfs
from firmware.build.version import MAIN
from firmware.device import install
from firmware.device import session as devices
from firmware.device.pinned import Pinned
from firmware.device.port import DeviceError, printable
from firmware.device.session import About, Device
from firmware.errors import FirmwareError

SETTINGS = "/settings.json"
CA = "/ca.der"
STATE = "/state"
IDENTITY = STATE + "/identity"
ENTROPY = 64  # bytes of the host's, of which the board takes as much as of its own
# h are the host's bytes, s tells whether the board has settings. A version of before takes neither.
MAKE = f"""from agent.runtime.flash.store import Store
from agent.runtime.key_pair import load_or_make
try:p=load_or_make(Store('{STATE}'),h,s)
except TypeError:p=load_or_make(Store('{STATE}'))
j(binascii.hexlify(p[1]).decode())"""


@dataclass(frozen=True)
class Place:
    """What a provisioned board belongs to, as its settings say; no secrets."""

    deployment: str
    group: str
    device: str
    authority: str
    board: str


def place(device: Device) -> Place | None:
    """Return what the board belongs to, None if it has no settings. Its passwords stay on it.
    Raises FirmwareError."""
    if not device.exists(SETTINGS):
        return None
    names = ("deployment", "group", "device", "authority", "board")
    try:
        # Not the settings: what an error shows, or a log of the port keeps, must not be a password.
        found = device.ask(f"s=json.load(open({SETTINGS!r}));j([s.get(n) for n in {names!r}]);s=None")
    except DeviceError:
        found = None
    if not isinstance(found, list) or len(found) != len(names) or not all(isinstance(value, str) for value in found):
        raise FirmwareError(f"{SETTINGS} on the board is damaged; `make provision` writes it again")
    settings = Place(*found)
    if not all(topics.valid_name(name) for name in (settings.deployment, settings.group, settings.device)):
        raise FirmwareError(f"{SETTINGS} on the board is damaged; `make provision` writes it again")
    return settings


def has_identity(device: Device) -> bool:
    """Tell whether the board has a key pair."""
    return device.exists(IDENTITY)


def make_identity(device: Device, folder: str) -> str:
    """Let the board make its key pair, unless it has one, with the application in `folder`; return
    the public key, hexadecimal.

    The private key does not leave the board, and nothing here could ask for it: only the public
    half is printed. The host gives it random bytes, which the board hashes with its own.
    """
    given = f"h=binascii.unhexlify('{secrets.token_hex(ENTROPY)}');s={device.exists(SETTINGS)}"
    try:
        answer = device.ask(f"sys.path.insert(0,'/{folder}')\n{given}\n{MAKE}")
    except DeviceError as error:
        if "identity-alone" in str(error):
            raise FirmwareError(
                "the board has a key pair and no longer knows what was sent with it; `make erase` removes it, "
                "and it must be enrolled anew under another name"
            ) from None
        if "Corrupt" in str(error):
            raise FirmwareError(
                "the board's key pair is damaged; `make erase` removes it, and it must be enrolled anew"
            ) from None
        raise
    try:
        return read_public(answer if isinstance(answer, str) else "").hex()
    except AuthorityError:
        raise FirmwareError(
            "what the board gives as its public key is none; unplug it, plug it in and try again"
        ) from None


def password(credentials: Path, device: str) -> tuple[str, bool]:
    """Return the device's password at the broker, and whether the broker knows it; if not, `hum
    broker` must be run again.

    It is kept in credentials.json, which `hum broker` reads and only its owner can. Raises
    FirmwareError, BrokerError.
    """
    if not credentials.parent.is_dir():
        raise FirmwareError(f"{credentials.parent} is no folder; the one that `hum broker` writes is wanted")
    with alone_in(credentials.parent):
        known = _known(credentials)
        if device in known:
            return read_password(credentials, device), _at_broker(credentials, device)
        known[device] = secrets.token_urlsafe(18)
        replace(credentials, (json.dumps(known, indent=1) + "\n").encode())
        return str(known[device]), False


def _known(credentials: Path) -> dict[str, Any]:
    if not credentials.exists():
        return {}
    try:
        known = json.loads(credentials.read_text())
    except (OSError, ValueError):
        raise FirmwareError(f"{credentials} cannot be read; the credentials.json of `hum broker` is wanted") from None
    if not isinstance(known, dict):
        raise FirmwareError(f"{credentials} is damaged; the credentials.json of `hum broker` is wanted")
    return known


def _at_broker(credentials: Path, device: str) -> bool:
    """Tell whether `hum broker` has written a password of the device: not if it was made by a run
    that was cut off since."""
    try:
        lines = credentials.with_name("passwords").read_text().splitlines()
    except (OSError, UnicodeError):
        return False
    return any(line.startswith(device + ":") for line in lines)


def certificate(path: Path) -> bytes:
    """Return the certificate in `path`, PEM or DER, as DER: MicroPython's form. Raises
    FirmwareError."""
    try:
        data = path.read_bytes()
        if b"-----BEGIN CERTIFICATE-----" in data:
            if data.count(b"-----BEGIN CERTIFICATE-----") != 1:
                raise FirmwareError(f"{path} holds several certificates; a board takes one, the authority's")
            data = ssl.PEM_cert_to_DER_cert(data.decode("ascii").strip())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=data)
        if context.get_ca_certs(binary_form=True) != [data]:
            raise ValueError("it is not the certificate of an authority")
    except (OSError, ValueError, TypeError) as error:
        raise FirmwareError(f"{path} holds no certificate: {str(error).splitlines()[0]}") from None
    return data


def make(
    device: Device,
    board: Board,
    authority: Pinned,
    group: str,
    name: str,
    build: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    moves: bool = False,
) -> str:
    """Let the board called `name` make its key pair, and return the public key, hexadecimal.

    The application is needed for that: where the board has none yet, the version in `build` is
    copied to it, but not started. One in a ROMFS is used as it is, and /main.py is put on the
    board, which starts it. One that is a member already `moves` to this group where a split has put
    it. Raises FirmwareError, also where the board is somebody else already.
    """
    about = devices.check(device, board.is_chip, board.title)
    if device.exists(SETTINGS):
        check_same(device, authority, group, name, moves)
    found = install.survey(device)
    folder = found.runs()
    in_rom = not folder and device.exists(f"{romfs.FOLDER}/agent")
    if in_rom:  # it runs there: no version is copied, but what starts it
        install.put_main(device, MAIN.read_bytes())
        folder = romfs.FOLDER[1:]
    elif not folder or not found.folders[folder].whole:
        wanted = releases.read(build, authority.public, authority.deployment, board.name)
        check_form(build, wanted, about)
        folder, _ = install.stage(device, found, wanted, build, progress)
    return make_identity(device, folder)


def check_same(device: Device, authority: Pinned, group: str, name: str, moves: bool = False) -> None:
    """Check that a board that has settings is this one, in whichever group if it `moves`. Raises
    FirmwareError."""
    try:
        there = place(device)
    except FirmwareError:
        return  # damaged settings are written anew
    if there and there.authority != authority.public:
        raise FirmwareError(
            f"the board is {there.device} of another authority's {there.deployment}; `make erase` makes it free"
        )
    if there and (there.device != name or (there.group != group and not moves)):
        raise FirmwareError(
            f"the board is {there.device} in {there.group} already; `make erase` makes it free for another name"
        )


def check_form(build: Path, wanted: releases.Release, about: About) -> None:
    """Check that the board's MicroPython takes compiled files of this form. Raises
    FirmwareError."""
    for path, _, _ in wanted.files:
        if path.endswith(".mpy"):
            head = (build / path).read_bytes()[:2]
            if head[:1] != b"M" or head[1] != about.mpy & 0xFF:
                form = about.mpy & 0xFF
                raise FirmwareError(
                    f"the board takes .mpy files of version {form}, not such as are in {build}; build them anew"
                )
            return


def write(device: Device, settings: dict[str, Any], ca: bytes | None) -> None:
    """Put the settings, and the certificate that they name, on the board."""
    if ca is not None:
        device.replace(CA, ca)
    device.replace(SETTINGS, (json.dumps(settings, sort_keys=True) + "\n").encode())


def read_policy(path: Path | None, authority: Authority, group: str, device: str) -> bytes | None:
    """Return the signed policy in the file, if there is one. Raises FirmwareError unless it is for
    this board."""
    if path is None:
        return None
    try:
        signed = bytes.fromhex(path.read_text().strip())
        policy.verify(signed, bytes.fromhex(authority.public), authority.deployment, group, device)
    except (ValueError, EnvelopeError, MessageError):
        raise FirmwareError(f"{path} holds no policy of this authority for {device} in {group}") from None
    return signed


def renew_roster(
    authority: Authority, path: Path, group: str, coordinator: str, slots: list[tuple[str, int, int]]
) -> int:
    """Sign the group's next roster into `path`, with what is not given as `hum authority roster`
    has it; return its epoch."""
    if not path.parent.is_dir():
        raise FirmwareError(f"{path.parent} is no folder")
    epoch, signed = authority.sign_roster(group, coordinator, slots, "private-sum", "hum-2048")
    replace(path, signed)
    return epoch


def slot(text: str) -> tuple[str, int, int]:
    """Read NAME:LOW:HIGH. Raises FirmwareError."""
    try:
        name, low, high = text.split(":")
        return name, int(low), int(high)
    except ValueError:
        raise FirmwareError(f"slot {printable(text.encode(errors='replace'))!r}: NAME:LOW:HIGH is wanted") from None
