"""From a board's settings to a running board."""

from agent.protocols import load
from agent.protocols.provision import Provision
from agent.runtime import identity, mqtt
from agent.runtime.board import Board
from agent.runtime.mask_stock import MaskStock
from agent.runtime.share_stock import ShareStock
from agent.runtime.store import Store
from agent.wire import messages, topics


class SettingsError(Exception):
    """A board's settings are not fit. args[0] names the field."""


def assemble(settings, meter, log):
    """Return a Board made from `settings`, a dictionary:

    deployment, group, device: names; authority: the pinned public key, hexadecimal; host, port, password: the broker's (the
    user name is the device's); ca: path of the certificate of the broker's authority, one in DER (a PEM file is refused),
    absent for plain TCP on a loopback; flash: folder of the store; policy: what `hum authority policy` signed for this device,
    hexadecimal, absent for the safe one; masks_target: rounds; diagnostics_s: seconds. Raises SettingsError, and Corrupt if
    the record of the key pair or of the policy is damaged.
    """
    for name in ("deployment", "group", "device"):
        if not topics.valid_name(settings.get(name)):
            raise SettingsError(name)
    try:
        authority = bytes.fromhex(settings["authority"])
    except (KeyError, ValueError):
        raise SettingsError("authority") from None
    store = Store(settings["flash"])
    private, public = identity.load_or_make(store)
    log("identity", {"public": public.hex()})
    device = settings["device"]
    provision = Provision(
        settings["deployment"],
        settings["group"],
        device,
        private,
        public,
        authority,
        _policy(settings, authority, store),
        settings.get("masks_target", 8),
    )
    client = mqtt.Client(
        settings["host"],
        settings["port"],
        device,
        user=device,
        password=settings.get("password"),
        will=(topics.device(provision.deployment, device, "state"), messages.presence(False), 1, True),
        ssl=_trust(settings["ca"]) if settings.get("ca") else None,
    )
    machine = load("private-sum")(provision)
    return Board(
        client, store, MaskStock(store), ShareStock(store), machine, meter, log, settings.get("diagnostics_s", 60)
    )


def _policy(settings, authority, store):
    """Return the Policy in the settings, None where they have none. Raises SettingsError.

    The record "policy" is the greatest serial number (4 bytes) that the board ever obeyed: an older policy does not come back,
    and neither does having none.
    """
    record = store.read("policy")
    least = int.from_bytes(record, "big") if record else 0
    serial, policy = _signed_policy(settings, authority) if settings.get("policy") is not None else (0, None)
    if serial < least:
        raise SettingsError("policy")
    if serial > least:
        store.put("policy", serial.to_bytes(4, "big"))
    return policy


def _signed_policy(settings, authority):
    """Return (serial, Policy). Raises SettingsError."""
    from agent.protocols import policy
    from agent.wire.envelope import EnvelopeError

    try:
        signed = bytes.fromhex(settings["policy"])
        return policy.verify(signed, authority, settings["deployment"], settings["group"], settings["device"])
    except (TypeError, ValueError, EnvelopeError, messages.MessageError):
        raise SettingsError("policy") from None


def _trust(path):
    """An SSLContext that trusts the authority whose certificate, DER, is at `path`. Raises SettingsError."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED  # MicroPython checks nothing unless told to
    try:
        with open(path, "rb") as file:
            context.load_verify_locations(cadata=file.read())  # given a path, CPython wants PEM and MicroPython DER
    except (OSError, ValueError):
        raise SettingsError("ca") from None
    return context
