"""What a board is given: every module compiles for every kind of board, and means the same under
the names that it gets."""

import ast
import json
import subprocess

import pytest

from agent.wire import release
from firmware.build import compile as compiled
from firmware.build import keep, romfs
from firmware.build.compile import ARCHITECTURES, ROOT, compile_agent, compiler, tool
from firmware.build.minify.constants import silence
from firmware.build.minify.known_names import FREE, GLOBAL, MORE
from firmware.build.minify.names import shorten
from firmware.device import provision
from firmware.errors import CompileError
from host_sim.bench import footprint as bench_footprint
from host_sim.bench import mpy_file
from host_sim.fleet.programs import KEEP, PROGRAMS

BLOCKS_MOST = 44  # of the 212 of a Pico W, twice, for updates
LIBRARY = """
_TABLE = {"one": 1}
class Base:
    def __init__(self, amount, scale=1):
        self.amount = amount
        self._scaled = amount * scale
    def _do_add(self, operand): return self._scaled + operand
    def _do_take(self, operand): return self._scaled - operand
    def perform(self, action, operand): return getattr(self, "_do_" + action)(operand)
    def doubled_again(self, operand=2): return [operand * factor for factor in (self.amount, self._scaled)]
def make_base(amount, scale): return Base(amount, scale=scale)
def look_up(word):
    global _counter
    _counter = _TABLE.get(word, 0)
    return (lambda amount, bonus=_counter: amount + bonus)(_counter)
"""
USER = """
import library_of_test
from library_of_test import Base, look_up
class Derived(Base):
    def __init__(self, amount):
        super().__init__(amount, 3)
        self._extra_amount = amount + 1
    def everything(self): return self.perform("add", 1), self.perform("take", 2), self._extra_amount, self.doubled_again(), self._scaled
def outcome(): return Derived(5).everything(), look_up("one"), library_of_test.make_base(2, 7)._scaled
"""


def run(trees):
    """Run the modules of `trees`, and return what the last one's function "outcome" does."""
    library = type(ast)("library_of_test")
    exec(compile(ast.unparse(trees["library_of_test.py"]), "library_of_test", "exec"), vars(library))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "library_of_test", library)
        space = {"__name__": "user"}
        exec(compile(ast.unparse(trees["user.py"]), "user", "exec"), space)
        return space["outcome"]()


def parsed():
    return {"library_of_test.py": ast.parse(LIBRARY), "user.py": ast.parse(USER)}


@pytest.fixture(scope="module")
def firmware(tmp_path_factory):
    """All that a board of the simulator runs, compiled once."""
    target = tmp_path_factory.mktemp("firmware")
    return compile_agent(target, programs=PROGRAMS, keep=KEEP, architecture=ARCHITECTURES[0])


def test_what_a_board_is_given_compiles_and_the_core_fits(firmware, tmp_path):
    figures = bench_footprint.parts(firmware)
    assert figures.pop(bench_footprint.ALL) == sum(figures.values()) <= release.TOTAL_MOST
    assert max(figures.values()) <= release.FILE_MOST
    core = compile_agent(tmp_path, architecture=ARCHITECTURES[0], without=bench_footprint.NOT_CORE)
    assert bench_footprint.parts(core)[bench_footprint.ALL] <= bench_footprint.CORE_MOST
    assert bench_footprint.blocks(core) <= BLOCKS_MOST
    for path in firmware.rglob("*.mpy"):
        content = mpy_file.read(path)  # raises unless it understands the file to its last byte, which is bytecode only
        assert content.total >= content.code >= 0
    names = json.loads((firmware / "names.json").read_text())  # tells what a traceback means
    assert ["sum_steps"] in names["agent/p256.py"]["names"].values()
    assert all(set(module["names"]) <= {*FREE, *GLOBAL, *MORE} for module in names.values())


def test_every_module_compiles(tmp_path):
    """Also those that no board comes to, and each as it is written."""
    command = [compiler(), f"-march={ARCHITECTURES[0]}", "-O3", "-o", str(tmp_path / "out.mpy")]
    for source in (ROOT / "agent").rglob("*.py"):
        subprocess.run([*command, str(source)], check=True)


def test_what_was_prepared_before_is_kept_and_made_anew_if_it_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    prepared = compiled._prepared.__wrapped__
    more = frozenset({"one"}), frozenset({"double"})
    sources = (("one.py", "def double(value):\n    return value + value\n"),)
    first = prepared(sources, *more)
    (file,) = (tmp_path / "build").iterdir()
    whole = file.read_text()
    file.write_text(whole.replace(" + ", " - "))
    again = prepared(sources, *more)
    assert again != first
    assert " - " in again.texts["one.py"]
    file.write_text(whole[:-9])
    assert prepared(sources, *more).texts == first.texts
    assert [path.read_text() for path in (tmp_path / "build").iterdir()] == [whole]
    for number in range(compiled.PREPARED_MOST):
        prepared((("one.py", f"def double(value):\n    return {number}\n"),), *more)
    assert len(list((tmp_path / "build").iterdir())) < compiled.PREPARED_MOST


def test_bytecode_is_the_same_for_every_kind_of_board(tmp_path):
    """Only native code differs: no module has any (see above), so one of them stands for all."""
    output = tmp_path / "out.mpy"
    made = set()
    for architecture in ARCHITECTURES:
        source = ROOT / "agent/joye_libert/pairs.py"
        command = [tool("mpy-cross"), f"-march={architecture}", "-O3", "-s", "pairs", "-o", str(output), str(source)]
        subprocess.run(command, check=True)
        made.add(output.read_bytes())
    assert len(made) == 1


def test_code_in_a_romfs_runs_where_it_is(firmware, tmp_path):
    """The same modules take less heap from the image than from files, by most of their bytecode at
    least."""
    modules = ["agent.runtime.flash.store", "agent.supervisor", "agent.secret_sharing", "agent.private_sum_machine"]
    image = romfs.pack(firmware, tmp_path / "image")
    on_heap, in_rom = (bench_footprint.inventory(firmware, modules, where)[0] for where in (None, image))
    code = sum(mpy_file.read(firmware / (name.replace(".", "/") + ".mpy")).code for name in modules)
    assert 0 < in_rom["loaded"] < on_heap["loaded"] - code


def test_shortened_modules_do_what_they_did():
    before, after = parsed(), parsed()
    names = shorten(after, {"outcome"})
    assert run(after) == run(before)
    assert {old for olds in names["user.py"].values() for old in olds} >= {"Derived", "everything", "_extra_amount"}
    assert set(names["user.py"]) <= set(FREE)


def test_what_strings_keywords_and_others_mention_keeps_its_name():
    trees = parsed()
    names = shorten(trees, {"outcome", "make_base"})
    lost = {old for olds in names["library_of_test.py"].values() for old in olds}
    assert lost.isdisjoint({"make_base", "look_up", "_do_add", "_do_take", "scale", "library_of_test"})
    assert lost >= {"perform", "_scaled", "_TABLE"}


def test_classes_that_inherit_share_no_short_name_for_two_attributes():
    trees = parsed()
    names = shorten(trees, set())
    library, user = ({old: new for new, olds in names[name].items() for old in olds} for name in trees)
    assert user["_extra_amount"] not in library.values()
    assert user["_scaled"] == library["_scaled"]


def test_what_a_class_reads_while_it_is_made_is_hidden_by_none_of_its_methods():
    code = """
_EVERYBODY = "all"
_NOBODY = "none"
class Letter:
    def _opened_by(self):
        return "opened"
    def _posted_by(self):
        return "posted"
    def _sealed_by(self):
        return "sealed"
    def addressed(self, receiver=_EVERYBODY, *, sender=_NOBODY):
        return receiver, sender
    stamp = _NOBODY
outcome = Letter().addressed(), Letter()._opened_by(), Letter()._posted_by(), Letter()._sealed_by(), Letter.stamp
"""
    trees = {"user.py": ast.parse(code)}
    before, after = {}, {}
    exec(code, before)
    names = shorten(trees, {"outcome"})
    exec(compile(trees["user.py"], "user.py", "exec"), after)
    assert after["outcome"] == before["outcome"] == (("all", "none"), "opened", "posted", "sealed", "none")
    assert {old for olds in names["user.py"].values() for old in olds} >= {"_EVERYBODY", "_NOBODY", "_posted_by"}


def test_a_message_that_nobody_reads_is_left_out_and_a_named_reason_stays():
    tree = ast.parse("def f(a):\n raise ValueError('too %d' % a)\ndef g():\n raise Refused('stale')")
    silence(tree)
    text = ast.unparse(tree)
    assert "raise ValueError()" in text
    assert "raise Refused('stale')" in text


def test_the_free_names_are_in_every_firmware(tmp_path):
    """mpy-cross writes the number of such a name in place of its letters: the form of the file says
    which they are."""
    source = tmp_path / "free.py"
    source.write_text("\n".join(f"print.{name}" for name in FREE))
    subprocess.run([tool("mpy-cross"), str(source)], check=True)
    compiled = source.with_suffix(".mpy").read_bytes()
    assert [name for name in FREE if bytes([2 * len(name)]) + name.encode() + b"\0" in compiled] == []


def test_a_heap_that_grows_has_a_slope():
    assert bench_footprint.slope([5, 5, 5, 5]) == 0
    assert bench_footprint.slope([1, 3, 5, 7]) == 2
    assert bench_footprint.slope([10, 0, 10, 0]) < 0


def test_a_file_that_is_no_mpy_file_is_refused(tmp_path):
    path = tmp_path / "x.mpy"
    for head in (b"C\x05\x00\x1f", b"M\x06\x0c\x1f"):  # of another interpreter; with native code for ARMv6-M
        path.write_bytes(head + bytes(8))
        with pytest.raises(mpy_file.MpyError):
            mpy_file.read(path)


def test_the_simulators_programs_find_all_that_they_look_for(firmware, tmp_path):
    """Each is imported, and so is what the footprint's bench imports from a text."""
    lines = [f"import {path.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}" for path in PROGRAMS]
    for text in (bench_footprint.JOIN, bench_footprint.ACCOUNT):
        lines += [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert "from host_sim.bench.onboard.cohort import assemble" in lines
    program = "import agent.runtime\n" + "\n".join(lines) + "\nprint('all of it')"
    command = [tool("micropython"), "-X", "heapsize=2m", "-c", program]
    run = subprocess.run(command, cwd=firmware, capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("all of it\n", "")
    lost = compile_agent(tmp_path, programs=PROGRAMS)  # without KEEP: this is what it is for
    assert subprocess.run(command, cwd=lost, capture_output=True, text=True, check=False).returncode == 1


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("agent.runtime.gone:main", "no module agent.runtime.gone"),
        ("agent.runtime.main:gone", "agent.runtime.main defines no gone"),
        ("agent.runtime.main:gc", "agent.runtime.main defines no gc"),
    ],
)
def test_what_the_build_must_keep_must_be_there(tmp_path, entry, said):
    with pytest.raises(CompileError, match=said):
        compile_agent(tmp_path, keep=(entry,))


@pytest.mark.parametrize("text", [(ROOT / "firmware/onboard/main.py").read_text(), provision.MAKE])
def test_what_others_import_on_a_board_is_kept(text):
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    agents = [node for node in imports if node.module.startswith("agent.")]
    entries = {f"{node.module}:{alias.name}" for node in agents for alias in node.names}
    assert entries
    assert entries <= set(keep.KEEP)


def test_a_plain_build_has_every_module_under_its_own_name(tmp_path):
    compile_agent(tmp_path, plain=True)
    made = {path.relative_to(tmp_path).with_suffix(".py").as_posix() for path in tmp_path.rglob("*.mpy")}
    assert made == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "agent").rglob("*.py") if path.read_text().strip()
    }
    assert json.loads((tmp_path / "names.json").read_text()) == {}
    program = "from agent.runtime.flash.store import Store\nStore('flash').put('x', b'')\nStore('flash').put('X', b'')"
    command = [tool("micropython"), "-c", program]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    lines = (ROOT / "agent/runtime/flash/store.py").read_text().splitlines()
    called = 1 + lines.index("        path = self._path(name)")
    assert f'  File "agent/runtime/flash/store.py", line {called}, in put\n' in run.stdout + run.stderr
    assert "in _path\nValueError: name\n" in run.stdout + run.stderr
