"""hum.toml: what is read, what is refused and what is said then; and what goes before what: an
option, a variable, the file, the default."""

import os
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from agent.crypto import p256
from broker.cli import defaults
from broker.cli.main import app
from broker.deployment import serving, settings
from broker.deployment.checks import SettingsError
from broker.deployment.checkup.findings import Finding
from broker.deployment.checkup.gateway import gateway
from broker.deployment.folder import Deployment, NoDeployment
from broker.deployment.template import Wanted, text
from broker.errors import HumError
from broker.gateway.site import Outward
from broker.transport.link import Link

GOOD = 'deployment = "street"\n[broker]\nhost = "broker.example"\n'
HOME = '[home_assistant]\nhost = "home.example"\n'
GROUP = '[groups.north]\nslots = ["load:0:1000"]\n'
PUBLIC = p256.public_key(p256.generate(os.urandom)).hex()

REFUSED = {
    "": "deployment is missing",
    'deployment = "street"': "broker.host is missing",
    'deployment = "Street"': "deployment = 'Street'",
    'deployment = "street"\nbroker = 1': "a table is wanted, [broker]",
    GOOD + "port = 0": "broker.port = 0: a whole number from 1 to 65535 is wanted",
    GOOD + "port = true": "broker.port = true",
    GOOD + 'port = "8883"': "broker.port = '8883'",
    GOOD + "prot = 1": "broker.prot is unknown; did you mean broker.port?",
    GOOD + "intervall = 1": "did you mean rounds.interval?",
    GOOD + "zzz = 1": "broker.zzz is unknown; known are host, port, address, existing",
    GOOD + "existing = true\nreload = 'a \"b'": "a command in one line, such as",
    GOOD + 'existing = true\nreload = "a\\nb"': "a command in one line",
    GOOD + 'existing = true\nreload = " "': "a command in one line",
    GOOD + 'reload = "systemctl reload mosquitto"': "goes with existing = true",
    GOOD + 'address = "everywhere"': "an address of this machine",
    GOOD + 'labels = ["a", "b", "c", "d"]': "broker.labels = ['a', 'b', 'c', 'd']: a list of at most 3 names of a-z",
    GOOD + 'labels = ["a,b"]': "NAME=VALUE",
    GOOD.replace("broker.example", "two words"): "the broker's name or address is wanted",
    GOOD + "[brokers]": "brokers is unknown; did you mean broker?",
    GOOD + "[rounds]\ninterval = 4": "instants are whole seconds, 5 to 86400 apart",
    GOOD + "[rounds]\ninterval = nan": "a number of seconds",
    GOOD + "[rounds]\nwindow = -1": "rounds.window = -1",
    GOOD + "[rounds]\nat-once = true": "did you mean rounds.at_once?",
    GOOD + '[authority]\npublic = "04"': "130 hexadecimal digits",
    GOOD + f'[authority]\npublic = "{PUBLIC}"\nfolder = "a"': "one of the two is wanted",
    GOOD + '[groups."Süd"]\nslots = ["load:0:1"]': "groups.'Süd'",
    GOOD + "groups = 1": "broker.groups is unknown",
    GOOD + "[groups]\nnorth = 1": "a table is wanted, [groups.north]",
    GOOD + "[groups.north]": "groups.north.slots is missing",
    GOOD + "[groups.north]\nslots = []": "NAME:LOW:HIGH",
    GOOD + '[groups.north]\nslots = ["load:0:1:2"]': "NAME:LOW:HIGH",
    GOOD + '[groups.north]\nslots = ["load:5:1"]': "NAME:LOW:HIGH",
    GOOD + '[groups.north]\nslots = ["load:0:1", "load:0:2"]': "two slots of one name",
    GOOD + GROUP + 'protocol = "privat-sum"': "one of private-sum, gossip",
    GOOD + GROUP + 'protocol = "gossip"\nseal = "fleet"': "gossip takes no seal",
    GOOD + GROUP + "cohort = 65": "a whole number from 4 to 64",
    GOOD + GROUP + 'seal = "all"': '"cohort" or "fleet"',
    GOOD + GROUP + "label = []": "did you mean groups.north.labels?",
    GOOD + GROUP + 'labels = ["A b"]': "names of a-z",
    GOOD + "home_assistant = 1": "broker.home_assistant is unknown",
    "home_assistant = 1\n" + GOOD: "a table is wanted, [home_assistant]",
    GOOD + "[home_assistant]": "home_assistant.host is missing; the name or address of the home's broker is wanted",
    GOOD + '[home_assistant]\nhost = "a b"': "home_assistant.host = 'a b'",
    GOOD + HOME + "port = 70000": "home_assistant.port = 70000",
    GOOD + HOME + 'user = "hum"': "both are wanted, or neither",
    GOOD + HOME + 'password_file = "x"': "both are wanted, or neither",
    GOOD + HOME + 'user = "a\\nb"\npassword_file = "x"': "at most 128 characters",
    GOOD + HOME + 'prefix = "a/+"': "a topic without + and #",
    GOOD + HOME + 'compute = ["north"]': "a list of at most",
    GOOD + HOME + 'compute = ["*:mean"]': "GROUP:FUNCTION",
    GOOD + HOME + "compute = [7]": "GROUP:FUNCTION",
    GOOD + HOME + 'password = "x"': "did you mean home_assistant.password_file?",
    GOOD + HOME.replace("home.example", "broker.example") + "port = 8883": "another broker than the boards' is wanted",
    GOOD + "[gateway]\nenergy_metrics = 1": "true or false is wanted",
    GOOD + "]": "is no TOML",
    GOOD + GROUP + GROUP: "is no TOML",
    "a = " + "[" * 5000: "is no TOML",
    "#" * (settings.FILE_MOST + 1): "more than 1 MiB",
}


@pytest.mark.parametrize("given", REFUSED, ids=lambda given: str(len(given)))
def test_what_is_not_fit_is_refused_in_one_line_that_says_what_is_wanted(given: str, tmp_path: Path) -> None:
    path = tmp_path / "hum.toml"
    path.write_text(given)
    with pytest.raises(SettingsError) as refused:
        settings.Settings.load(path, {})
    said = str(refused.value)
    assert REFUSED[given] in said and said.startswith(f"{path}: ") and "\n" not in said


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "hum.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is no TOML"):
        settings.Settings.load(tmp_path / "hum.toml", {})


def test_defaults_are_those_of_the_commands() -> None:
    read = settings.read((GOOD + GROUP).encode(), {})
    assert read.broker == settings.BrokerSettings("broker.example", 8883, "0.0.0.0", False)
    assert read.rounds == settings.RoundSettings(900, 60, 600, 600, False)
    assert read.authority == settings.AuthoritySettings(Path("authority"), None)
    assert read.groups["north"].ranges() == [("load", 0, 1000)] and read.groups["north"].options() == {}
    full = GROUP + 'cohort = 8\nseal = "fleet"\naudit = true\nspread = 60\nlabels = ["north-side"]\n'
    options = settings.read((GOOD + full).encode(), {}).groups["north"].options()
    assert options == {"cohort": 8, "seal": 1, "audit": True, "spread": 60}
    away = settings.read((GOOD + f'[authority]\npublic = "{PUBLIC.upper()}"').encode(), {})
    assert away.authority == settings.AuthoritySettings(None, PUBLIC)


def test_home_assistant_is_off_unless_there_is_its_table(tmp_path: Path) -> None:
    public = f'[authority]\npublic = "{PUBLIC}"\n'
    (tmp_path / "hum.toml").write_text(GOOD + public)
    assert serving.outward(Deployment.find(tmp_path)) == Outward(None, "homeassistant", False)
    energy = "[gateway]\nenergy_metrics = true\n"
    (tmp_path / "hum.toml").write_text(GOOD + public + energy + HOME)
    assert serving.outward(Deployment.find(tmp_path)) == Outward(
        Link("home.example", 1883, None, None, None), energy=True
    )
    user = 'user = "hum"\npassword_file = "home.password"\nprefix = "ha"\nport = 8883\ncompute = ["north:mean"]\n'
    (tmp_path / "hum.toml").write_text(GOOD + public + HOME + user)
    (tmp_path / "home.password").write_text("secret\n")
    assert serving.outward(Deployment.find(tmp_path)) == Outward(
        Link("home.example", 8883, "hum", "secret", None), "ha", compute=("north:mean",)
    )


@pytest.mark.parametrize("password", [None, b"", b"\n", b"\xff", b"x" * 300])
def test_a_password_that_is_none_is_named(tmp_path: Path, password: bytes | None) -> None:
    user = 'user = "hum"\npassword_file = "home.password"\n'
    (tmp_path / "hum.toml").write_text(GOOD + HOME + user)
    if password is not None:
        (tmp_path / "home.password").write_bytes(password)
    with pytest.raises(HumError, match=r"home\.password(: .*password_file|.*a line of 1 to 256)") as error:
        serving.outward(Deployment.find(tmp_path))
    assert "\n" not in str(error.value)


def test_doctor_names_what_the_home_s_broker_lacks(tmp_path: Path) -> None:
    user = 'user = "hum"\npassword_file = "home.password"\n'
    (tmp_path / "hum.toml").write_text(GOOD + HOME + user)
    found = {one.check: one for one in gateway(Deployment.find(tmp_path))}["home's broker"]
    assert found.fault and found.fault.startswith(f"{tmp_path / 'home.password'}: No such file")
    assert found.remedy
    (tmp_path / "home.password").write_text("secret\n")
    assert Finding("home's broker") in list(gateway(Deployment.find(tmp_path)))
    (tmp_path / "hum.toml").write_text(GOOD)
    assert "home's broker" not in {one.check for one in gateway(Deployment.find(tmp_path))}


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "hum.toml").write_text(GOOD + HOME + 'ca = "home-ca.crt"\n')
    for content in (None, "none"):
        if content:
            (tmp_path / "home-ca.crt").write_text(content)
        with pytest.raises(HumError, match=r"home-ca\.crt: .*; see \[home_assistant\] ca"):
            serving.outward(Deployment.find(tmp_path))


@pytest.mark.parametrize("place", [(Path("authority"), None), (None, PUBLIC)])
@pytest.mark.parametrize("existing", [False, True])
def test_the_file_that_init_writes_says_what_was_wanted(place: tuple[Path | None, str | None], existing: bool) -> None:
    slots = ["load:0:1000", "feed-in:-500:0"]
    command = "systemctl reload mosquitto" if existing else ""
    wanted = Wanted("street", "10.0.0.7", 1883, existing, command, "north", slots, *place)
    read = settings.read(text(wanted).encode(), {})
    assert read.broker == settings.BrokerSettings("10.0.0.7", 1883, "0.0.0.0", existing, command)
    assert (read.deployment, read.authority) == ("street", settings.AuthoritySettings(*place))
    assert read.groups == {"north": settings.GroupSettings(slots)}


def test_every_commented_default_of_that_file_is_the_default() -> None:
    written = text(Wanted("street", "b", 8883, False, "", "north", ["load:0:1"], Path("authority"), None))
    lines = [line.removeprefix("# ") if " = " in line else line for line in written.splitlines()[3:]]
    read = settings.read("\n".join(lines).encode(), {})
    group = settings.GroupSettings(["load:0:1"], cohort=32, seal="cohort", audit=True, spread=0)
    assert read == settings.Settings("street", settings.BrokerSettings("b"), groups={"north": group})


def test_variables_go_before_the_file_and_are_checked_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "hum.toml").write_text(GOOD + "port = 1\n[rounds]\ninterval = 60\n")
    said = {"HUM_PORT": "1883", "HUM_AT_ONCE": "true", "HUM_WINDOW": "2.5", "HUM_ADDRESS": ""}
    read = settings.Settings.load(tmp_path / "hum.toml", said)
    assert (read.broker.port, read.broker.address) == (1883, "0.0.0.0")
    assert (read.rounds.interval, read.rounds.window, read.rounds.at_once) == (60, 2.5, True)
    for variable, value in (("HUM_PORT", "x"), ("HUM_PORT", "0"), ("HUM_AT_ONCE", "maybe"), ("HUM_HOST", "a b")):
        with pytest.raises(SettingsError, match=f"^{variable}={value}: .* is wanted"):
            settings.Settings.load(tmp_path / "hum.toml", {variable: value})


def test_a_deployment_is_that_of_the_folder_given_of_the_current_one_or_of_hum_dir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("given", "current", "named", "none"):
        (tmp_path / name).mkdir()
        if name != "none":
            (tmp_path / name / "hum.toml").write_text(GOOD.replace("street", name))
    monkeypatch.chdir(tmp_path / "none")
    monkeypatch.delenv("HUM_DIR", raising=False)
    with pytest.raises(NoDeployment, match="hum init"):
        Deployment.find()
    with pytest.raises(NoDeployment, match=r"no hum\.toml in"):
        Deployment.find(tmp_path / "none")
    monkeypatch.setenv("HUM_DIR", "../named")
    assert Deployment.find().name == "named"
    assert Deployment.find().folder == tmp_path / "named"
    monkeypatch.chdir(tmp_path / "current")
    assert Deployment.find().name == "current"
    assert Deployment.find(Path("../given")).authority == tmp_path / "given/authority"


def _parameters(command: Any, path: tuple[str, ...] = ()) -> "list[tuple[tuple[str, ...], Any]]":
    found = [(path, parameter) for parameter in command.params]
    for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
        found += _parameters(command.get_command(None, name), (*path, name))
    return found


SHARED = {
    "--host": "HUM_HOST",
    "--broker": "HUM_HOST",
    "--port": "HUM_PORT",
    "--broker-port": "HUM_PORT",
    "--credentials": "HUM_CREDENTIALS",
    "--ca": "HUM_CA",
    "--state": "HUM_STATE",
    "--dir": "HUM_AUTHORITY_DIR",
    "--deployment": "HUM_DEPLOYMENT",
    "--authority": "HUM_AUTHORITY",
}
OF_OLD = ("authority", "broker", "coordinator", "firmware", "query", "release")  # take their defaults from hum.toml


def test_broker_state_and_authority_options_of_every_command_have_a_variable_and_a_place_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hum.toml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    known = defaults.of_commands()
    seen = set()
    for path, parameter in _parameters(get_command(app)):
        option = next((each for each in parameter.opts if each in SHARED), None)
        if option is None or path[0] not in OF_OLD or "serial port" in (parameter.help or ""):
            continue
        seen.add(option)
        assert parameter.envvar == SHARED[option], (path, option)
        place: Any = known
        for name in path:
            place = place[name]
        assert callable(place[parameter.name]), (path, option)
        place[parameter.name]() if option not in ("--authority",) else None
    assert seen == set(SHARED)
