"""Each group has a result key of its own, in one place; a folder of before keeps its one."""

import os
from pathlib import Path

import pytest

from agent.crypto import p256
from broker.client.access import Access, ClientError
from broker.coordinator.home import Home
from broker.coordinator.result_keys import ResultKeyError, ResultKeys

AUTHORITY = p256.public_key(p256.generate(os.urandom))
OLD = "ab" * 16 + "\n"


def before(folder: Path, groups: list[str]) -> Path:
    """A coordinator's folder as programs of before made it."""
    home = Home.init(folder, "test", AUTHORITY)
    for group in groups:
        home.storage.keep_roster(group, 1, b"signed")
    home.storage.close()
    (folder / "results").rmdir()
    (folder / "result.key").write_text(OLD)
    return folder


def test_groups_have_keys_of_their_own_that_stay(tmp_path: Path) -> None:
    Home.init(tmp_path / "c", "test", AUTHORITY).storage.close()
    keys = ResultKeys(tmp_path / "c")
    made = {group: keys.make(group) for group in ("north", "south")}
    assert len(set(made.values())) == 2 and {len(key) for key in made.values()} == {16}
    assert {group: keys.make(group) for group in made} == made == {group: keys.of(group) for group in made}
    assert {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "c/results").iterdir()} == {
        "north.key": 0o600,
        "south.key": 0o600,
    }
    assert not (tmp_path / "c/result.key").exists()


def test_the_groups_of_a_folder_of_before_keep_their_one_key_and_new_ones_get_their_own(tmp_path: Path) -> None:
    home = Home(before(tmp_path / "c", ["north", "south"]))
    old = bytes.fromhex(OLD)
    assert home.result_keys.of("north") == home.result_keys.of("south") == old
    assert home.result_keys.make("east") != old
    home.storage.close()
    (tmp_path / "c/result.key").unlink()  # it is no more looked at
    again = Home(tmp_path / "c")
    assert again.result_keys.of("north") == old
    again.storage.close()


def test_taking_over_that_was_cut_short_begins_again(tmp_path: Path) -> None:
    folder = before(tmp_path / "c", ["north", "south"])
    (folder / "results.tmp").mkdir()
    (folder / "results.tmp/north.key").write_text("half")
    home = Home(folder)
    assert home.result_keys.of("north") == home.result_keys.of("south") == bytes.fromhex(OLD)
    home.storage.close()


def test_a_key_that_is_lost_or_damaged_is_an_error_and_never_made_anew(tmp_path: Path) -> None:
    Home.init(tmp_path / "c", "test", AUTHORITY).storage.close()
    keys = ResultKeys(tmp_path / "c")
    keys.make("north")
    for text in ("", "zz", "00" * 15):
        keys.path("north").write_text(text)
        with pytest.raises(ResultKeyError, match=r"north\.key is damaged; restore it"):
            keys.make("north")
    keys.path("north").unlink()
    with pytest.raises(ResultKeyError, match=r"north\.key: No such file or directory; restore it"):
        keys.of("north")
    with pytest.raises(ResultKeyError, match="a group's name"):
        keys.make("../north")
    (before(tmp_path / "d", []) / "result.key").unlink()
    with pytest.raises(ResultKeyError, match=r"result\.key"):
        Home(tmp_path / "d")


def test_a_reader_takes_one_key_or_a_folder_of_them(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="holds no result key"):
        Access.load(tmp_path, "test", AUTHORITY.hex())
    for name, digit in (("north", "1"), ("south", "2")):
        (tmp_path / f"{name}.key").write_text(32 * digit)
    access = Access.load(tmp_path, "test", AUTHORITY.hex())
    assert (access.key_of("north"), access.key_of("south"), access.key_of("west")) == (b"\x11" * 16, b"\x22" * 16, None)
    one = Access.load(tmp_path / "north.key", "test", AUTHORITY.hex())
    assert one.key_of("north") == one.key_of("west") == b"\x11" * 16
