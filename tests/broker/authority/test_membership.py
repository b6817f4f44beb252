"""Who is a member, and how that changes: enrolment is checked when it happens, and what was done
can be undone."""

import json
import os
from pathlib import Path

import pytest

from agent.crypto import p256
from agent.protocols.base.identity import Policy
from agent.wire import rosters
from agent.wire.envelope import Context, Envelope
from broker import files as files_module
from broker.authority import plans
from broker.authority.authority import Authority
from broker.authority.errors import AuthorityError
from broker.authority.plans import Plan


def key() -> str:
    return str(p256.public_key(p256.generate(os.urandom)).hex())


COORDINATOR = key()
PLAN = Plan(COORDINATOR, (("load", 0, 1000),), "private-sum", "hum-2048")
WIDE = Plan(COORDINATOR, tuple((f"s{index}", 0, (1 << 44) - 1) for index in range(40)), "private-sum", "hum-2048")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.init(tmp_path / "authority", "test")


def filled(authority: Authority, count: int, group: str = "main", label: str = "") -> list[str]:
    names = [f"{label or 'b'}{index:02d}" for index in range(count)]
    for name in names:
        authority.enrol(group, name, key(), PLAN, {"labels": [label]} if label else None)
    return names


def members(authority: Authority, group: str, epoch: int, signed: bytes) -> list[str]:
    context = Context("test", "roster", group, epoch, 0, "authority", "")
    return rosters.read_roster(Envelope(signed).verify(bytes.fromhex(authority.public), context)).names()


def kept(authority: Authority, tmp_path: Path) -> str:
    return (tmp_path / "authority/deployment.json").read_text()


# -- enrolment


@pytest.mark.parametrize("name", ["-", "--help", "-b", "b-", "B", "b.", "b" * 33, "", "b\n", "küche", "client"])
def test_a_name_that_breaks_something_later_is_refused_now(authority: Authority, tmp_path: Path, name: str) -> None:
    before = kept(authority, tmp_path)
    with pytest.raises(AuthorityError, match="names are") as refused:
        authority.enrol("main", name, key())
    assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(AuthorityError, match="names are"):
        authority.check_place("-" + name, "b0")
    assert kept(authority, tmp_path) == before


def test_the_65th_member_is_refused_and_the_group_can_still_have_a_roster(authority: Authority) -> None:
    filled(authority, 64)
    with pytest.raises(AuthorityError, match="main has 64 members, the most there can be; choose another group"):
        authority.enrol("main", "b64", key())
    epoch, signed = authority.sign_plan("main", PLAN)
    assert len(members(authority, "main", epoch, signed)) == 64


def test_a_key_has_one_name_in_all_groups(authority: Authority) -> None:
    one = key()
    authority.enrol("main", "b0", one)
    for group, name in (("main", "b1"), ("other", "b1")):
        with pytest.raises(AuthorityError, match="this key is b0's in main"):
            authority.enrol(group, name, one.upper())
    with pytest.raises(AuthorityError, match="authority's own key"):
        authority.enrol("main", "b1", authority.public)
    authority.enrol("main", "b1", key())
    with pytest.raises(AuthorityError, match="coordinator's key is b0's"):
        authority.sign_roster("main", one, [("load", 0, 1)], "private-sum", "hum-2048")


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (Plan(COORDINATOR, (("load", 0, 1000),), "private-sum", "hum-4096"), "unknown-parameters|parameters"),
        (Plan(COORDINATOR, (("load", 0, 1000),), "public-sum", "hum-2048"), "no protocol is called"),
        (Plan(COORDINATOR, (("load", 0, 1000),), "gossip", "t0"), "parameters 't0'"),
        (Plan(COORDINATOR, (("load", 0, 1000),), "gossip-bft", "t1"), "gossip-bft needs"),
        (Plan(COORDINATOR, (("-load", 0, 1000),), "private-sum", "hum-2048"), "make no roster: '-load'"),
        (Plan(COORDINATOR, (("load", 0, 1),), "private-sum", "hum-2048", {"signer": b"x"}), "takes no signer"),
    ],
)
def test_a_group_that_could_never_have_a_roster_takes_nobody(authority: Authority, plan: Plan, reason: str) -> None:
    with pytest.raises(AuthorityError, match="with b0 main could never have a roster: ") as refused:
        authority.enrol("main", "b0", key(), plan)
    assert refused.match(reason)
    assert authority.devices() == []


def test_a_group_takes_as_many_as_its_slots_have_room_for(authority: Authority) -> None:
    """The plan of the last roster counts, where no other is given."""
    for index in range(2):
        authority.enrol("main", f"b{index}", key(), WIDE)
    authority.sign_plan("main", WIDE)
    most = 2
    with pytest.raises(AuthorityError, match=r"could never have a roster: .*slots-too-wide"):
        while most < 64:
            authority.enrol("main", f"b{most}", key())
            most += 1
    assert 2 < most < 64
    authority.sign_plan("main", WIDE)


def test_a_group_of_gossip_grows_to_what_its_parameters_want(authority: Authority) -> None:
    plan = Plan(COORDINATOR, (("load", 0, 1000),), "gossip", "t9")
    for index in range(11):
        authority.enrol("main", f"b{index:02}", key(), plan)
    authority.sign_plan("main", plan)


def test_a_plan_is_kept_as_it_was_given() -> None:
    for options in ({}, {"cohort": 8, "audit": True, "seal": 1, "spread": 0}, {"signer": bytes(range(256))}):
        plan = Plan(COORDINATOR, (("load", 0, 1000),), "private-sum", "hum-2048", options)
        assert plans.read(json.loads(json.dumps(plan.as_json()))) == plan


# -- removed, replaced


def test_a_member_that_is_removed_is_in_no_roster_any_more_and_may_come_back(authority: Authority) -> None:
    names = filled(authority, 4)
    public = authority.members()[0].public
    authority.describe("b00", {"place": "cellar"})
    assert authority.sign_policy("main", "b00", Policy())[0] == 1
    assert authority.sign_plan("main", PLAN)[0] == 1
    assert authority.remove("b00") == "main"
    assert members(authority, "main", *authority.sign_plan("main", PLAN)) == names[1:]
    for again in (authority.remove, authority.group_of):
        with pytest.raises(AuthorityError, match="b00 was removed from main"):
            again("b00")
    for group, name in (("main", "b09"), ("other", "b00")):
        with pytest.raises(AuthorityError, match="this key was b00's in main"):
            authority.enrol(group, name, public)
    authority.enrol("main", "b00", public)
    assert authority.members()[0].place == ""
    assert authority.sign_policy("main", "b00", Policy())[0] == 2, "a policy's number is never given twice"
    assert members(authority, "main", *authority.sign_plan("main", PLAN)) == names
    with pytest.raises(AuthorityError, match="no device is called 'b77'"):
        authority.remove("b77")


def test_a_board_is_replaced_under_its_name_and_the_old_key_never_comes_back(authority: Authority) -> None:
    filled(authority, 3)
    old, new = authority.members()[1].public, key()
    authority.describe("b01", {"place": "cellar"})
    for _ in range(2):  # the second changes nothing
        assert authority.replace("b01", new) == "main"
        assert (authority.members()[1].public, authority.members()[1].place) == (new, "cellar")
    for attempt in (
        lambda: authority.replace("b01", old),
        lambda: authority.replace("b02", old),
        lambda: authority.enrol("main", "b09", old),
        lambda: authority.enrol("other", "b09", old),
    ):
        with pytest.raises(AuthorityError, match="this key of b01 was replaced, and never comes back"):
            attempt()
    authority.remove("b01")
    with pytest.raises(AuthorityError, match="never comes back"):
        authority.enrol("main", "b01", old)
    with pytest.raises(AuthorityError, match="this key is b00's"):
        authority.replace("b02", authority.members()[0].public)
    with pytest.raises(AuthorityError, match="no device"):
        authority.replace("b77", key())


def test_what_cannot_be_kept_was_not_done(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, before = filled(authority, 9), kept(authority, tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(files_module, "write_private", full)
        for change in (
            lambda: authority.remove("b00"),
            lambda: authority.replace("b00", key()),
            lambda: authority.split("main", 5),
            lambda: authority.enrol("main", "b99", key()),
            lambda: authority.describe("b00", {"place": "x"}),
        ):
            with pytest.raises(OSError, match="no space"):
                change()
            assert kept(authority, tmp_path) == before
    assert Authority(tmp_path / "authority").devices() == names


# -- split


def test_a_group_is_split_into_parts_and_each_goes_on_with_the_next_epoch(authority: Authority) -> None:
    filled(authority, 40)
    for _ in range(3):
        authority.sign_plan("main", PLAN)
    assert authority.sign_policy("main", "b39", Policy())[0] == 1
    found = authority.split("main", 32)
    assert list(found) == ["main", "main-2"] and [len(part) for part in found.values()] == [20, 20]
    assert sorted(name for part in found.values() for name in part) == authority.devices()
    for group, part in found.items():
        epoch, signed = authority.sign_plan(group, PLAN)
        assert epoch == 4, "a board has spent rounds of the epochs before"
        assert members(authority, group, epoch, signed) == part
    assert authority.sign_policy(authority.group_of("b39"), "b39", Policy())[0] == 2


def test_members_of_one_label_stay_together(authority: Authority) -> None:
    for label, count in (("north", 10), ("south", 25), ("west", 5), ("", 4)):
        filled(authority, count, label=label)
    found = authority.split("main", 32)
    assert [len(part) for part in found.values()] == [30, 14]
    where = {name: group for group, part in found.items() for name in part}
    for label in ("north", "south", "west", "b"):
        assert len({group for name, group in where.items() if name.startswith(label)}) == 1
    assert where["south00"] == "main"


def test_no_part_is_too_small_for_a_sum(authority: Authority) -> None:
    for label, count in (("north", 30), ("south", 2)):
        filled(authority, count, label=label)
    assert sorted(len(part) for part in authority.split("main", 30).values()) == [16, 16]


@pytest.mark.parametrize(
    ("group", "size", "reason"),
    [
        ("none", 5, "there is no group none"),
        ("main", 3, "--size 3: 4 to 63 are wanted"),
        ("main", 64, "--size 64"),
        ("main", 9, "has 9 members, no more than 9"),
        ("main", 4, "cannot be split into groups of 4 to 4"),
        ("w" * 32, 5, "too long a name"),
    ],
)
def test_a_group_that_cannot_be_split_stays_as_it_is(
    authority: Authority, tmp_path: Path, group: str, size: int, reason: str
) -> None:
    filled(authority, 9)
    for index in range(9):
        authority.enrol("w" * 32, f"w{index}", key())
    before = kept(authority, tmp_path)
    with pytest.raises(AuthorityError, match=reason):
        authority.split(group, size)
    assert kept(authority, tmp_path) == before


def test_names_of_groups_that_are_there_are_not_taken(authority: Authority) -> None:
    filled(authority, 12)
    authority.enrol("main-2", "other", key())
    assert list(authority.split("main", 4)) == ["main", "main-3", "main-4"]


# -- what people want to know


def test_what_is_known_of_a_member_stays_with_the_authority(authority: Authority, tmp_path: Path) -> None:
    filled(authority, 3)
    authority.describe("b00", {"place": "cellar of 12, left", "measures": "heat pump"})
    authority.describe("b00", {"labels": ["north", "heat"]})
    found = Authority(tmp_path / "authority").members("main")[0]
    assert (found.place, found.measures, found.labels) == ("cellar of 12, left", "heat pump", ["north", "heat"])
    _, signed = authority.sign_plan("main", PLAN)
    assert b"cellar" not in signed and b"north" not in signed


@pytest.mark.parametrize(
    "about",
    [
        {"place": "x" * 65},
        {"place": "a\x1b[2Jb"},
        {"measures": "two\nlines"},
        {"labels": ["North"]},
        {"labels": ["-north"]},
        {"labels": ["north", "north"]},
        {"labels": [f"l{index}" for index in range(9)]},
        {"labels": "north"},
        {"colour": "red"},
    ],
)
def test_what_is_too_much_or_unprintable_is_not_kept(authority: Authority, about: dict[str, object]) -> None:
    filled(authority, 1)
    with pytest.raises(AuthorityError, match="printable characters"):
        authority.describe("b00", about)
    with pytest.raises(AuthorityError, match="printable characters"):
        authority.enrol("main", "b1", key(), about=about)
    assert authority.devices() == ["b00"]


# -- the folder


@pytest.mark.parametrize(
    "change",
    [
        {"about": []},
        {"about": {"b00": {"place": 1}}},
        {"about": {"B": {}}},
        {"former": {"00": ["main", "b0", True]}},
        {"former": {"00" * 32: ["main", "b0", 1]}},
        {"former": {"00" * 32: ["main"]}},
        {"request": [1]},
        {"request": [-1, ""]},
        {"groups": {"main": {"epoch": 0, "members": {}, "plan": {}}}},
        {"groups": {"main": {"epoch": 0, "members": {}, "plan": PLAN.as_json() | {"slots": [["load", 2, 1]]}}}},
        {
            "groups": {
                "main": {"epoch": 0, "members": {}, "plan": PLAN.as_json() | {"options": {"signer": {"bytes": "zz"}}}}
            }
        },
        {"groups": {"main": {"epoch": 0, "members": {}, "plan": PLAN.as_json() | {"options": {"cohort": [8]}}}}},
    ],
)
def test_a_damaged_folder_is_refused(authority: Authority, tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "authority/deployment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(AuthorityError, match="damaged"):
        Authority(tmp_path / "authority")


def test_a_folder_from_before_with_what_is_refused_today_goes_on(authority: Authority, tmp_path: Path) -> None:
    """65 members, one name with a dash first, one key twice: they can be removed now."""
    path, state = tmp_path / "authority/deployment.json", {}
    for index in range(63):
        state[f"b{index:02d}"] = key()
    state |= {"-": key(), "twin": state["b00"]}
    path.write_text(json.dumps({"deployment": "test", "groups": {"main": {"epoch": 7, "members": state}}}))
    authority = Authority(tmp_path / "authority")
    with pytest.raises(AuthorityError, match="has 65 members"):
        authority.sign_plan("main", PLAN)
    for name in ("-", "twin"):
        authority.remove(name)
    epoch, signed = authority.sign_plan("main", PLAN)
    assert epoch == 8 and len(members(authority, "main", epoch, signed)) == 63
