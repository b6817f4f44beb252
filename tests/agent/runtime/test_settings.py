"""A board's settings: each field that is mistyped, out of its range or hostile is refused by its
name."""

from agent.runtime.settings import SettingsError, check
from tests.support.expect import raises

GOOD = {
    "deployment": "street",
    "group": "north",
    "device": "meter-a",
    "authority": "04" + "5a" * 64,
    "host": "broker.example",
    "port": 8883,
    "password": "of the board",
    "ca": "/ca.der",
    "server_name": "broker.example",
    "flash": "/state",
    "policy": "d284",
    "masks_target": 96,
    "diagnostics_s": 60,
    "time": 1800000000,
    "board": "pico-w",
    "wifi": {"ssid": "street", "password": "8 or more", "power_save": False, "country": "BE"},
    "meter": {"kind": "p1", "uart": 1, "rx": 5, "old": False, "inverted": True},
}
GATEWAYS = (
    {"hosts": ["b.example", "192.0.2.2:8884"], "labels": ["feeder=7", "north"], "after_s": 86400},
    {"hosts": ["b"] * 4},
    {"labels": ["a"] * 3},
    {},
)
LEAST = ("deployment", "group", "device", "authority", "host")
ANYTHING = (None, True, 1.5, -1, 0, 1 << 32, 1 << 70, "", "\x00", "x" * 5000, "\u0661", [], {}, [[]], {"a": 1})
METERS = (
    {"kind": "p1", "uart": 0, "rx": 48},
    {"kind": "p1", "uart": 0, "rx": 48, "rate": 300, "framing": "7E1"},
    {"kind": "p1", "uart": 0, "rx": 48, "rate": 1000000, "framing": "8N1"},
    {"kind": "sml", "uart": 3, "rx": 0},
    {"kind": "sml", "uart": 3, "rx": 0, "inverted": True, "rate": 9600},
    {"kind": "s0", "pin": 15, "impulses": 1000},
    {"kind": "s0", "pin": 0, "impulses": 100000, "on_ms": 1, "off_ms": 500},
    {"kind": "played", "path": "/day.txt", "step_s": 1800},
    {"kind": "simulated", "columns": [[1, -2, 3], [0]]},
)
NEEDED = {"kind": (), "uart": (0,), "rx": (0,), "pin": (0,), "impulses": (), "path": ("x" * 5000,), "step_s": ()}


def changed(field, value):
    settings = dict(GOOD)
    settings[field] = value
    return settings


def refused(name, settings):
    error = raises(SettingsError, check, settings)
    assert error.args == (name,), (error.args, name)


def test_good_settings_are_good():
    check(GOOD)
    check({name: GOOD[name] for name in LEAST})


def test_what_is_no_dictionary_has_no_settings():
    for value in (None, [], "text", 5, b""):
        refused("settings", value)


def test_what_must_be_there_is_asked_for():
    for name in LEAST[:-1]:
        for value in ANYTHING:
            refused(name, changed(name, value))
        settings = dict(GOOD)
        settings.pop(name)
        refused(name, settings)


def test_an_unknown_field_is_mistyped():
    refused("pasword", changed("pasword", "of the board"))
    refused("x" * 40, changed("x" * 4000, 1))
    refused("wifi.pass", changed("wifi", dict(GOOD["wifi"], **{"pass": "8 or more"})))
    refused("meter.pin", changed("meter", dict(GOOD["meter"], pin=4)))
    for meter in METERS:
        refused("meter.extra", changed("meter", dict(meter, extra=1)))


def test_a_field_of_the_wrong_type_or_range_is_refused():
    right = {
        "host": (),
        "port": (),
        "password": (None, "", "\u0661"),
        "ca": (None, "\u0661"),
        "server_name": (None,),
        "flash": (None, "\u0661"),
        "policy": (None,),
        "masks_target": (None,),
        "diagnostics_s": (None,),
        "time": (None, 0),
        "board": (None,),
    }
    for name, accepted in right.items():
        for value in ANYTHING:
            if any(value is good or (type(value) is type(good) and value == good) for good in accepted):
                check(changed(name, value))
            elif value is None or (name == "host" and value in ("", False)):
                check(changed(name, None))
            else:
                refused(name, changed(name, value))


def test_ranges_end_where_they_should():
    for name, low, high in (
        ("port", 1, 65535),
        ("masks_target", 1, 1000),
        ("diagnostics_s", 1, 86400),
        ("time", 0, 0xFFFFFFFF),
    ):
        check(changed(name, low))
        check(changed(name, high))
        refused(name, changed(name, low - 1))
        refused(name, changed(name, high + 1))
    for value in ("04" + "5a" * 63, "04" + "5a" * 65, "5" * 129, "zz" * 65):
        refused("authority", changed("authority", value))
    for value in ("a b", "broker\n", "b\u00fccher.example", "x" * 254, "fe80::1"):
        refused("host", changed("host", value))
    for value in ("client", "coordinator", "Meter", "a/b", "#"):
        refused("device", changed("device", value))


def test_without_an_address_the_broker_must_be_able_to_prove_itself():
    settings = dict(GOOD)
    settings.pop("host")
    check(settings)
    for name in ("ca", "server_name"):
        fewer = dict(settings)
        fewer.pop(name)
        refused(name, fewer)


def test_the_wifi_is_checked():
    for value in (True, 5, "street", []):
        refused("wifi", changed("wifi", value))
    for name, values in (
        ("ssid", ANYTHING[:9] + ("x" * 33, "\u0661" * 17)),
        ("password", (True, 12345678, "short", "x" * 64, "x" * 8 + "\x00")),
        ("power_save", (0, 1, "false", [])),
        ("country", ("be", "BEL", "B", "", 32, "B1")),
    ):
        for value in values:
            refused("wifi." + name, changed("wifi", dict(GOOD["wifi"], **{name: value})))
    check(changed("wifi", {"ssid": "x" * 32}))
    check(changed("wifi", {"ssid": "x", "password": ""}))


def test_the_meter_is_checked():
    for value in (True, 5, "p1", []):
        refused("meter", changed("meter", value))
    for kind in (None, "", "P1", 1, ["p1"]):
        refused("meter.kind", changed("meter", {"kind": kind}))
    for meter in METERS:
        check(changed("meter", meter))
        for name in meter:
            for value in ANYTHING:
                if name in NEEDED and not any(type(value) is type(good) and value == good for good in NEEDED[name]):
                    if name == "path" and value == "\u0661":
                        continue
                    refused("meter." + name, changed("meter", dict(meter, **{name: value})))
    for columns in ([], [[]], [[1], "x"], [[True]], [[1.5]], [[1 << 49]], [[0] * 1001], [[0]] * 49):
        refused("meter.columns", changed("meter", {"kind": "simulated", "columns": columns}))
    for value in (0, 501, True, "30"):
        for name in ("on_ms", "off_ms"):
            refused("meter." + name, changed("meter", dict(METERS[2], **{name: value})))
        refused("meter.on_ms", changed("meter", dict(METERS[5], on_ms=value)))
    for value in (299, 1000001, True, "9600"):
        for meter in (METERS[0], METERS[3]):
            refused("meter.rate", changed("meter", dict(meter, rate=value)))
    for value in ("8E1", "8n1", "", 7, True):
        refused("meter.framing", changed("meter", dict(METERS[0], framing=value)))
    refused("meter.framing", changed("meter", dict(METERS[3], framing="8N1")))
    refused("meter.old", changed("meter", dict(METERS[3], old=False)))
    for name in ("old", "inverted"):
        refused("meter." + name, changed("meter", dict(METERS[0], **{name: 1})))


def test_other_gateways_are_hosts_and_what_announced_ones_must_have():
    for gateways in GATEWAYS:
        check(changed("gateways", gateways))
    for field, values in (
        ("hosts", (["b"] * 5, ["b:"], ["b:0"], ["b:65536"], ["b:8 8"], ["b:123456"], [":1"], ["a_b"], "b")),
        ("labels", (["a"] * 4, ["A"], ["a="], ["=a"], ["a=b=c"], ["a,b"], ["a" * 33], ["a=" + "b" * 33], "a")),
        ("after_s", (0, 86401, 1.5, True)),
    ):
        for value in values + ANYTHING:
            if value is not None and not (value == [] or (field == "after_s" and value == 1)):
                refused("gateways." + field, changed("gateways", {field: value}))
    for value in (5, "x", [1], True):
        refused("gateways", changed("gateways", value))
    refused("gateways.host", changed("gateways", {"host": "b"}))


def test_without_a_certificate_only_hosts_that_are_named_are_gone_to():
    plain = {name: GOOD[name] for name in LEAST}
    check(dict(plain, gateways={"hosts": ["b"]}))
    for gateways in ({}, {"after_s": 5}, {"hosts": []}, {"labels": ["a"]}, {"hosts": ["b"], "labels": ["a"]}):
        refused("ca", dict(plain, gateways=gateways))
        refused("server_name", dict(plain, ca="/ca.der", gateways=gateways))
