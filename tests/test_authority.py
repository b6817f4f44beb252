"""The authority: what it signs, what it refuses to sign, and that no epoch is ever signed twice."""

import json
import os
import stat
from pathlib import Path

import pytest

from agent.crypto import p256
from agent.wire import messages
from agent.wire.envelope import Context, Envelope
from broker import authority as authority_module
from broker.authority import Authority, AuthorityError

SLOTS = [("load", 0, 1000)]


def key() -> str:
    return str(p256.public_key(p256.generate(os.urandom)).hex())


COORDINATOR = key()
KEYS = [key() for _ in range(3)]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority.init(tmp_path / "authority", "test")
    for index, public in enumerate(KEYS):
        authority.enrol("main", f"b{index}", public)
    return authority


def sign(authority: Authority, **other: object) -> tuple[int, bytes]:
    options = {"slots": SLOTS, "protocol": "private-sum", "parameter_set": "hum-2048", "group": "main"} | other
    return authority.sign_roster(
        options["group"], COORDINATOR, options["slots"], options["protocol"], options["parameter_set"]
    )  # type: ignore[arg-type]


def opened(authority: Authority, signed: bytes, epoch: int) -> messages.Roster:
    context = Context("test", "roster", "main", epoch, 0, "authority", "")
    return messages.read_roster(Envelope(signed).verify(bytes.fromhex(authority.public), context))


def test_a_roster_names_the_members_in_order_and_verifies_with_the_pinned_key(authority: Authority) -> None:
    epoch, signed = sign(authority)
    roster = opened(authority, signed, 1)
    assert epoch == 1
    assert roster.members == [(f"b{i}", bytes.fromhex(public)) for i, public in enumerate(KEYS)]
    assert (roster.protocol, roster.parameters, roster.slots) == ("private-sum", "hum-2048", SLOTS)
    assert roster.coordinator.hex() == COORDINATOR


def test_epochs_grow_and_are_remembered(authority: Authority, tmp_path: Path) -> None:
    assert sign(authority)[0] == 1
    assert sign(authority)[0] == 2
    assert sign(Authority(tmp_path / "authority"))[0] == 3


def test_an_epoch_is_spent_before_its_roster_exists(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(*_: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(authority_module.envelope, "sign", no_more)
        sign(authority)
    assert sign(Authority(tmp_path / "authority"))[0] == 2


def test_a_roster_that_cannot_be_kept_is_not_signed(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "no space")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr(authority_module, "write_private", full)
        sign(authority)
    assert Authority(tmp_path / "authority").devices() == ["b0", "b1", "b2"]
    assert sign(Authority(tmp_path / "authority"))[0] == 1


def test_what_is_refused_spends_no_epoch(authority: Authority) -> None:
    refused: list[dict[str, object]] = [
        {"slots": [("load", 10, 0)]},
        {"slots": [("load", 0, 1 << 49)]},
        {"slots": [("load", 0, 1 << 80)]},
        {"slots": [("Load", 0, 1)]},
        {"slots": [("\udcff", 0, 1)]},
        {"slots": []},
        {"slots": [("load", 0, 1), ("load", 0, 1)]},
        {"slots": [(f"s{i}", 0, 1 << 48) for i in range(48)]},
        {"slots": [(f"s{i}", 0, 1) for i in range(49)]},
        {"protocol": "public-sum"},
        {"protocol": "\n"},
        {"parameter_set": "paper-1024"},
        {"parameter_set": "hum-4096"},
        {"group": "none"},
    ]
    for options in refused:
        with pytest.raises(AuthorityError):
            sign(authority, **options)
    assert sign(authority)[0] == 1


def test_a_group_has_two_to_sixty_four_members(tmp_path: Path) -> None:
    authority = Authority.init(tmp_path / "authority", "test")
    for count in range(66):
        if count in (0, 1, 65):
            with pytest.raises(AuthorityError, match=f"has {count} members"):
                sign(authority)
        if count in (2, 64):
            assert len(opened(authority, *reversed(sign(authority))).members) == count
        authority.enrol("main", f"b{count:02d}", KEYS[0])


def test_a_roster_larger_than_a_board_takes_is_refused(tmp_path: Path) -> None:
    authority = Authority.init(tmp_path / "authority", "test")
    for index in range(64):
        authority.enrol("main", f"{index:032d}", KEYS[0])
    with pytest.raises(AuthorityError, match="too large"):
        sign(authority, slots=[(f"{index:032d}", 0, 1 << 20) for index in range(48)])
    _, signed = sign(authority, slots=[(f"{index:032d}", 0, 1 << 20) for index in range(30)])
    assert len(signed) <= 8192


@pytest.mark.parametrize("device", ["", "B0", "b 0", "b/0", "+", "#", "b" * 33, "coordinator", "client", "\n", "é"])
def test_a_device_has_a_name_that_may_stand_in_a_topic(authority: Authority, device: str) -> None:
    with pytest.raises(AuthorityError, match="names are"):
        authority.enrol("main", device, key())
    with pytest.raises(AuthorityError, match="names are"):
        authority.enrol("" if device == "client" else device * 40, "b9", key())


def test_enrolling_again_changes_nothing_and_never_another_key_or_group(authority: Authority) -> None:
    authority.enrol("main", "b0", KEYS[0].upper())
    for group, public in (("main", KEYS[1]), ("other", KEYS[0])):
        with pytest.raises(AuthorityError, match="is enrolled in main"):
            authority.enrol(group, "b0", public)
    assert authority.devices() == ["b0", "b1", "b2"]
    assert opened(authority, *reversed(sign(authority))).members[0] == ("b0", bytes.fromhex(KEYS[0]))


@pytest.mark.parametrize(
    "public",
    [
        "",
        "xyz",
        "04",
        "04" + "00" * 64,
        KEYS[0][:-2],
        KEYS[0] + "00",
        "02" + KEYS[0][2:66],
        KEYS[0][:-2] + "zz",
        "ff" * 65,
    ],
)
def test_what_is_no_public_key_is_refused(authority: Authority, public: str) -> None:
    with pytest.raises(AuthorityError, match="not a P-256 public key"):
        authority.enrol("main", "b9", public)
    with pytest.raises(AuthorityError, match="not a P-256 public key"):
        authority.sign_roster("main", public, SLOTS, "private-sum", "hum-2048")


def test_the_private_key_is_its_owners_alone_and_a_second_authority_is_refused(tmp_path: Path) -> None:
    first = Authority.init(tmp_path / "authority", "test")
    assert stat.S_IMODE((tmp_path / "authority" / "authority.key").stat().st_mode) == 0o600
    with pytest.raises(AuthorityError, match="has an authority already"):
        Authority.init(tmp_path / "authority", "test")
    assert Authority(tmp_path / "authority").public == first.public
    for name in ("", "Test", "a/b"):
        with pytest.raises(AuthorityError, match="name"):
            Authority.init(tmp_path / "other", name)


@pytest.mark.parametrize(
    "state",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"deployment": "test"}',
        '{"deployment": "Test", "groups": {}}',
        '{"deployment": "test", "groups": []}',
        '{"deployment": "test", "groups": {"main": 1}}',
        '{"deployment": "test", "groups": {"main": {"epoch": -1, "members": {}}}}',
        '{"deployment": "test", "groups": {"main": {"epoch": true, "members": {}}}}',
        '{"deployment": "test", "groups": {"main": {"epoch": 0, "members": {"b0": "04"}}}}',
        '{"deployment": "test", "groups": {"main": {"epoch": 0, "members": {"b0": 4}}}}',
        '{"deployment": "test", "groups": {"main": {"epoch": 0, "members": {"B0": "04"}}}}',
    ],
)
def test_a_damaged_folder_is_refused(authority: Authority, tmp_path: Path, state: str) -> None:
    (tmp_path / "authority" / "deployment.json").write_text(state)
    with pytest.raises(AuthorityError, match="damaged"):
        Authority(tmp_path / "authority")


@pytest.mark.parametrize("private", [b"", bytes(32), b"\xff" * 32, b"\x01" * 31, b"\x01" * 33])
def test_a_damaged_key_is_refused(authority: Authority, tmp_path: Path, private: bytes) -> None:
    (tmp_path / "authority" / "authority.key").write_bytes(private)
    with pytest.raises(AuthorityError, match="damaged"):
        Authority(tmp_path / "authority")


def test_the_state_is_replaced_as_a_whole(authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "authority" / "deployment.json"
    path.with_name("deployment.json.tmp").write_text("left by a crash")
    authority.enrol("main", "b9", key())
    assert sorted(json.loads(path.read_text())["groups"]["main"]["members"]) == ["b0", "b1", "b2", "b9"]
    assert not path.with_name("deployment.json.tmp").exists()
