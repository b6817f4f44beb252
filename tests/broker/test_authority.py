"""The authority: what it signs, what it refuses to sign, and that no epoch is ever signed twice."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agent.crypto import p256
from agent.protocols.base import policy as policies
from agent.protocols.base.policy import Policy
from agent.wire import rosters
from agent.wire.envelope import Context, Envelope
from broker import files as files_module
from broker.authority import authority as authority_module
from broker.authority.authority import Authority
from broker.authority.errors import AuthorityError

SLOTS = [("load", 0, 1000)]
ROOT = Path(__file__).parents[2]


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
    return authority.sign_roster(coordinator=COORDINATOR, **options)  # type: ignore[arg-type]


def opened(authority: Authority, signed: bytes, epoch: int) -> rosters.Roster:
    context = Context("test", "roster", "main", epoch, 0, "authority", "")
    return rosters.read_roster(Envelope(signed).verify(bytes.fromhex(authority.public), context))


def test_a_roster_names_the_members_in_order_and_verifies_with_the_pinned_key(authority: Authority) -> None:
    epoch, signed = sign(authority)
    roster = opened(authority, signed, 1)
    assert epoch == 1
    assert roster.members == [(f"b{i}", bytes.fromhex(public)) for i, public in enumerate(KEYS)]
    assert (roster.protocol, roster.parameters, roster.slots) == ("private-sum", "hum-2048", SLOTS)
    assert roster.coordinator.hex() == COORDINATOR
    assert roster.part == {6: 32, 7: 0, 8: 0, 9: b""}


def test_a_roster_says_how_large_a_cohort_is_and_what_opens(authority: Authority) -> None:
    for epoch, (cohort, seal) in enumerate([(4, 0), (64, 1), (32, 1)], 1):
        _, signed = sign(authority, cohort=cohort, seal=seal)
        roster = opened(authority, signed, epoch)
        assert (roster.part[6], roster.part[7]) == (cohort, seal)


def test_slots_leave_room_for_the_blinding(authority: Authority) -> None:
    """1984 bits is the widest field, 64 of them to spare: with three members 1920 bits of slots,
    and not one more."""
    most = [(f"s{index}", 0, ((1 << 46) - 1) // 3) for index in range(41)]
    sign(authority, slots=[*most, ("last", 0, ((1 << 34) - 1) // 3)])
    with pytest.raises(AuthorityError, match="slots-too-wide"):
        sign(authority, slots=[*most, ("last", 0, ((1 << 35) - 1) // 3)])


def test_epochs_grow_and_are_remembered(authority: Authority, tmp_path: Path) -> None:
    assert sign(authority)[0] == 1
    assert sign(authority)[0] == 2
    assert sign(Authority(tmp_path / "authority"))[0] == 3


def test_who_opened_the_folder_earlier_undoes_nothing_that_another_has_done_since(
    authority: Authority, tmp_path: Path
) -> None:
    """Two boards are provisioned at once, a minute each, while the operator signs a roster."""
    other = Authority(tmp_path / "authority")
    assert sign(other)[0] == 1
    other.enrol("main", "b8", key())
    authority.enrol("main", "b9", key())
    assert {"b8", "b9"} <= set(Authority(tmp_path / "authority").devices())
    assert (sign(authority)[0], sign(other)[0], sign(authority)[0]) == (2, 3, 4)
    serials = [at.sign_policy("main", "b8", Policy())[0] for at in (other, authority, other)]
    versions = [at.sign_release("pico-w", [("agent/a.mpy", 1, bytes(32))])[0] for at in (other, authority, other)]
    assert serials == versions == [1, 2, 3]
    with pytest.raises(AuthorityError, match="it must be more than 3"):
        authority.sign_release("pico-w", [("agent/a.mpy", 1, bytes(32))], 3)


def test_processes_that_enrol_at_once_all_do(authority: Authority, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom broker.authority.authority import Authority\n"
        "authority = Authority(Path(sys.argv[1]))\nsys.stdin.read(1)\n"
        "for index in range(20):\n    authority.enrol('main', sys.argv[2] + str(index), sys.argv[3 + index])\n"
    )
    arguments = [
        [sys.executable, "-c", program, str(tmp_path / "authority"), name, *(key() for _ in range(20))]
        for name in ("x", "y")
    ]
    both = [subprocess.Popen(one, cwd=ROOT, stdin=subprocess.PIPE) for one in arguments]
    for process in both:
        assert process.stdin
        process.stdin.write(b"x")
        process.stdin.close()
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(Authority(tmp_path / "authority").devices()) == 3 + 40


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
        patch.setattr(files_module, "write_private", full)
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
        {"cohort": 3},
        {"cohort": 65},
        {"cohort": True},
        {"seal": 2},
        {"seal": -1},
        {"group": "none"},
    ]
    for options in refused:
        with pytest.raises(AuthorityError):
            sign(authority, **options)
    assert sign(authority)[0] == 1


def test_a_group_has_two_to_sixty_four_members(tmp_path: Path) -> None:
    authority = Authority.init(tmp_path / "authority", "test")
    for count in range(65):
        if count in (0, 1):
            with pytest.raises(AuthorityError, match=f"has {count} members"):
                sign(authority)
        if count in (2, 64):
            assert len(opened(authority, *reversed(sign(authority))).members) == count
        if count < 64:
            authority.enrol("main", f"b{count:02d}", key())
    with pytest.raises(AuthorityError, match="main has 64 members, the most there can be"):
        authority.enrol("main", "b64", key())
    assert len(opened(authority, *reversed(sign(authority))).members) == 64


def test_a_roster_larger_than_a_board_takes_is_refused(tmp_path: Path) -> None:
    authority = Authority.init(tmp_path / "authority", "test")
    for index in range(64):
        authority.enrol("main", f"{index:032d}", key())
    with pytest.raises(AuthorityError, match="too large"):
        sign(authority, slots=[(f"{index:032d}", 0, 1 << 20) for index in range(48)])
    _, signed = sign(authority, slots=[(f"{index:032d}", 0, 1 << 20) for index in range(30)])
    assert len(signed) <= 8192


@pytest.mark.parametrize(
    "device",
    ["", "B0", "b 0", "b/0", "+", "#", "b" * 33, "coordinator", "client", "\n", "é", "-", "-b", "b-", "--help"],
)
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
    ids=["empty", "text", "short", "zeros", "cut", "long", "compressed", "no-digits", "ones"],
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


# -- the audit, and other protocols


def test_groups_of_8_and_more_compare_their_roll_calls_unless_told_otherwise(authority: Authority) -> None:
    found = []
    for name in range(3, 9):
        authority.enrol("main", f"b{name}", key())
        for told in (None, True, False):
            epoch, signed = sign(authority, audit=told)
            found.append((len(authority.devices()), told, opened(authority, signed, epoch).part[8]))
    expected = [[(size, None, int(size >= 8)), (size, True, 1), (size, False, 0)] for size in range(4, 10)]
    assert found == [row for rows in expected for row in rows]


MODULUS = b"\xc0" + bytes(254) + b"\x07"


@pytest.mark.parametrize(
    ("protocol", "signer"), [("gossip", b""), ("gossip-flood", b""), ("gossip-bft", MODULUS)], ids=str
)
def test_gossip_protocols_are_signed_with_how_many_may_fail(authority: Authority, protocol: str, signer: bytes) -> None:
    for device in range(3, 13):
        authority.enrol("main", f"b{device:02}", key())
    for epoch, parameters in enumerate(["t1", "t9"], 1):
        _, signed = sign(authority, protocol=protocol, parameter_set=parameters, signer=signer)
        roster = opened(authority, signed, epoch)
        assert (roster.protocol, roster.parameters) == (protocol, parameters)
        assert roster.part == {6: 32, 7: 0, 8: 0, 9: signer}
    for parameters in ("hum-2048", "t0", "t10", "t12", "t13", "t01", "t100", "2", "t", "t2 "):
        with pytest.raises(AuthorityError):
            sign(authority, protocol=protocol, parameter_set=parameters, signer=signer)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "gossip", "parameter_set": "t1", "audit": True}, "gossip takes no audit"),
        ({"protocol": "gossip", "parameter_set": "t1", "signer": MODULUS}, "gossip-bft needs"),
        ({"protocol": "gossip-bft", "parameter_set": "t1"}, "gossip-bft needs"),
        ({"protocol": "gossip-bft", "parameter_set": "t1", "signer": MODULUS[:-1]}, "make no roster"),
        ({"signer": MODULUS}, "private-sum takes no signer"),
        ({"protocol": "gossip-", "parameter_set": "t1"}, "no protocol is called"),
    ],
)
def test_a_roster_that_no_protocol_runs_with_spends_no_epoch(
    authority: Authority, options: dict[str, object], message: str
) -> None:
    with pytest.raises(AuthorityError, match=message):
        sign(authority, **options)
    assert sign(authority)[0] == 1


# -- policies


def obeyed(authority: Authority, signed: bytes, device: str = "b0") -> tuple[int, Policy]:
    return policies.verify(signed, bytes.fromhex(authority.public), "test", "main", device)


def test_a_policy_is_what_the_board_reads(authority: Authority) -> None:
    serial, signed = authority.sign_policy("main", "b0", Policy(4, 5, SLOTS, 6, 7, 8, 9, 10))
    found, policy = obeyed(authority, signed)
    assert serial == found == 1
    assert (policy.members_least, policy.contributors_least, policy.slots) == (4, 5, SLOTS)
    assert (policy.close, policy.close_most, policy.epsilon, policy.epsilon_period) == (6, 7, 8, 9)
    assert policy.off_grid == 10


def test_serials_grow_device_by_device_and_are_remembered(authority: Authority, tmp_path: Path) -> None:
    for device, serial in (("b0", 1), ("b0", 2), ("b1", 1), ("b0", 3), ("b1", 2)):
        found, signed = Authority(tmp_path / "authority").sign_policy("main", device, Policy())
        assert found == serial == obeyed(authority, signed, device)[0]
    assert sign(Authority(tmp_path / "authority"))[0] == 1, "epochs are counted by themselves"


def test_a_serial_is_spent_before_its_policy_exists(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(*_: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(authority_module.envelope, "sign", no_more)
        authority.sign_policy("main", "b0", Policy())
    assert Authority(tmp_path / "authority").sign_policy("main", "b0", Policy())[0] == 2


def test_a_policy_that_cannot_be_kept_is_not_signed(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "no space")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr(files_module, "write_private", full)
        authority.sign_policy("main", "b0", Policy())
    assert Authority(tmp_path / "authority").sign_policy("main", "b0", Policy())[0] == 1


@pytest.mark.parametrize(
    "policy",
    [
        Policy(members_least=1),
        Policy(members_least=65),
        Policy(contributors_least=1),
        Policy(contributors_least=True),
        Policy(slots=[]),
        Policy(slots=[("load", 1, 0)]),
        Policy(slots=[("load", 0, 1), ("load", 0, 1)]),
        Policy(slots=[("load", 0, 1 << 80)]),
        Policy(slots=[("\udcff", 0, 1)]),
        Policy(slots=[(f"s{index}", 0, 1) for index in range(49)]),
        Policy(close=0),
        Policy(close=65),
        Policy(close_most=-1),
        Policy(close_most=49),
        Policy(off_grid=-1),
        Policy(off_grid=86401),
        Policy(off_grid=True),
    ],
)
def test_a_policy_that_no_board_would_read_spends_no_serial(authority: Authority, policy: Policy) -> None:
    with pytest.raises(AuthorityError, match="make no policy"):
        authority.sign_policy("main", "b0", policy)
    assert authority.sign_policy("main", "b0", Policy())[0] == 1


def test_a_policy_is_for_an_enrolled_device(authority: Authority) -> None:
    authority.enrol("other", "b9", key())
    for group, device in (("main", "b7"), ("main", "b9"), ("none", "b0"), ("other", "b0")):
        with pytest.raises(AuthorityError, match=f"{device} is not enrolled in {group}"):
            authority.sign_policy(group, device, Policy())


def test_the_widest_policy_is_not_too_large_for_a_board(tmp_path: Path) -> None:
    authority = Authority.init(tmp_path / "authority", "t" * 32)
    authority.enrol("g" * 32, "d" * 32, KEYS[0])
    slots = [(f"{index:032d}", -(1 << 48), 1 << 48) for index in range(48)]
    _, signed = authority.sign_policy("g" * 32, "d" * 32, Policy(64, 64, slots, 64, 48))
    found = policies.verify(signed, bytes.fromhex(authority.public), "t" * 32, "g" * 32, "d" * 32)[1]
    assert found.slots == slots


def test_a_folder_from_before_there_were_policies_opens(authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "authority" / "deployment.json"
    assert "serials" not in json.loads(path.read_text())["groups"]["main"]
    sign(authority)
    again = Authority(tmp_path / "authority")
    assert again.sign_policy("main", "b2", Policy())[0] == 1
    assert json.loads(path.read_text())["groups"]["main"]["serials"] == {"b2": 1}
    assert sign(Authority(tmp_path / "authority"))[0] == 2


# -- a folder that is damaged


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
        '{"deployment": "test", "groups": {"main": {"epoch": 0, "members": {}, "serials": []}}}',
        '{"deployment": "test", "groups": {"main": {"epoch": 0, "members": {}, "serials": {"b0": -1}}}}',
        '{"deployment": "test", "groups": {"main": {"epoch": 0, "members": {}, "serials": {"b0": true}}}}',
        '{"deployment": "test", "groups": {"main": {"epoch": 0, "members": {}, "serials": {"b0": "1"}}}}',
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


def test_a_folder_whose_making_found_the_disk_full_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def full(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 3:  # the state and its folder, then the key
            raise OSError(28, "no space")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr("broker.authority.authority.os.fsync", full)
        Authority.init(tmp_path / "authority", "test")
    assert not (tmp_path / "authority" / "authority.key").exists()
    Authority.init(tmp_path / "authority", "test").enrol("main", "b0", key())


def test_the_state_is_replaced_as_a_whole(authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "authority" / "deployment.json"
    path.with_name("deployment.json.tmp").write_text("left by a crash")
    authority.enrol("main", "b9", key())
    assert sorted(json.loads(path.read_text())["groups"]["main"]["members"]) == ["b0", "b1", "b2", "b9"]
    assert not path.with_name("deployment.json.tmp").exists()
