"""The console of a board: its tracebacks have the sources' names, and nothing that it prints
reaches the terminal as a command."""

import ast
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firmware.build.compile import ROOT, compile_agent
from firmware.device import traceback
from firmware.errors import FirmwareError
from tests.support.firmware.device import FlashedDevice

MAIN = """
import sys, time
sys.path.insert(0, "/a")
from agent.runtime.flash.store import Store
from agent.runtime.key_pair import load_or_make
class Half(Store):
    def __init__(self): pass
while True:
    for store in (Store("/state"), Half()):
        try:
            load_or_make(store)
        except Exception as error:
            sys.print_exception(error)
            sys.stdout.buffer.write(b"\\x1b[2J\\xff \\xc3\\xa9\\n")
    time.sleep(0.1)
"""


def function(path: str, name: str, lines: list[int], within: str, *mentions: str, own: str = "") -> dict[str, object]:
    """Return an entry of a build's table."""
    entry = {"path": path, "name": name, "lines": lines, "within": within, "family": [within] if within else []}
    return {**entry, "mentions": list(mentions), "own": own.split()}


FUNCTIONS = {
    "get": [
        function("agent/a.py", "A.first", [1, 2], "k", "pop", "j"),
        function("agent/b.py", "B.second", [3, 4], "j", "add", own="add"),
    ],
    "pop": [function("agent/a.py", "third", [5, 9], "", "get")],
    "__init__": [
        function("agent/a.py", "A.__init__", [1, 1], "k", "pop"),
        function("agent/b.py", "B.__init__", [2, 2], "j", "pop"),
    ],
    "add": [function("agent/a.py", "A.fourth", [6, 6], "k"), function("agent/b.py", "B.fifth", [7, 8], "j")],
}
NAMES = {"pop": ["third"], "get": ["first", "second"]}
TABLE = {"agent/bundle.py": {"path": "agent/wire/bundle.py", "functions": FUNCTIONS, "names": NAMES}}


def lines_of(path: str, name: str) -> str:
    """Return what is shown of a function or a method: where it is in its source."""
    tree = ast.parse((ROOT / path).read_text())
    (node,) = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) and each.name == name]
    return f'  File "{path}", lines {node.lineno} to {node.end_lineno}, in '


def shown(reader: traceback.Reader, *lines: bytes | None) -> list[str]:
    return [text for line in lines for text in reader.read(line)]


def test_a_traceback_of_a_compiled_board_has_the_sources_names(tmp_path: Path) -> None:
    built = compile_agent(tmp_path / "build/unix")
    board = FlashedDevice(tmp_path / "flash", heap="1m")
    files = {f"/a/{path.relative_to(built)}": path.read_bytes() for path in built.rglob("*.mpy")}
    board.put({**files, "/main.py": MAIN.encode(), "/state/identity": b"damaged, and longer than a checksum"})
    with board:
        raw = board.wait_for(b"no attribute").decode()
        command = [sys.executable, "-m", "firmware", "monitor", "--port", board.port, "--build", str(built)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stderr
            lines = [process.stdout.readline().decode().rstrip("\n") for _ in range(40)]
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            assert process.stderr.read() == b""
    called = lines_of("agent/runtime/key_pair.py", "load_or_make") + "load_or_make"
    damaged = lines.index("Corrupt: identity", 10)
    assert lines[damaged - 2] == called
    assert lines[damaged - 1].startswith('  File "agent/runtime/flash/store.py", lines ')
    assert lines[damaged - 1].endswith(", in Store.read")
    missing = next(at for at, line in enumerate(lines) if "no attribute" in line and at > 10)
    assert lines[missing - 3] == called
    assert lines[missing - 1] == lines_of("agent/runtime/flash/store.py", "_path") + "Store._path"
    assert "_root" not in raw  # on the board it is called otherwise
    assert lines[missing].startswith(raw)
    assert "_root" in lines[missing].removeprefix(raw)
    assert "\\x1b[2J\\xff é" in lines


def test_callers_tell_which_of_several_functions_a_name_means() -> None:
    reader = traceback.Reader(traceback.Build(None, TABLE))
    lines = [b"Traceback (most recent call last):", b'  File "bundle", line 1, in <module>']
    lines += [b'  File "bundle", line 1, in get', b'  File "bundle", line 1, in pop']
    lines += [b"AttributeError: 'Thing' object has no attribute 'get'"]
    assert shown(reader, *lines) == [
        "Traceback (most recent call last):",
        '  File "agent/wire/bundle.py", line 1, in <module>',
        '  File "agent/a.py", lines 1 to 2, in A.first',
        '  File "agent/a.py", lines 5 to 9, in third',
        "AttributeError: 'Thing' object has no attribute 'get' (first or second)",
    ]
    # Nothing tells: both are shown.
    assert shown(reader, b'  File "bundle", line 1, in get', b"ValueError: ") == [
        '  File "agent/a.py", lines 1 to 2, in A.first',
        '    or "agent/b.py", lines 3 to 4, in B.second',
        "ValueError: ",
    ]
    made = shown(reader, b'  File "bundle", line 1, in get', b'  File "bundle", line 1, in __init__', None)
    assert made[-1] == '  File "agent/b.py", lines 2 to 2, in B.__init__'
    # What a method looks for in its object only is a method of its class.
    made = shown(reader, b'  File "bundle", line 1, in get', b'  File "bundle", line 1, in add', None)
    assert made == ['  File "agent/b.py", lines 3 to 4, in B.second', '  File "agent/b.py", lines 7 to 8, in B.fifth']


@pytest.mark.parametrize("build", [None, traceback.Build(None, TABLE)])
def test_what_the_build_knows_nothing_of_stays_as_it_is(build: traceback.Build | None) -> None:
    lines = [b"started", b'  File "main.py", line 7, in start', b'  File "asyncio/core.py", line 9, in get']
    lines += [b'  File "bundle", line 1, in nobody'] if build is None else []
    lines += [b"RuntimeError: 'other'", b'{"event": "get"}', b"'get'", b'  File "x", line 1, in get and more']
    assert shown(traceback.Reader(build), *lines) == [line.decode() for line in lines]


def test_a_board_that_runs_another_version_is_not_translated() -> None:
    reader = traceback.Reader(traceback.Build(3, TABLE))
    frame = b'  File "bundle", line 1, in pop'
    assert shown(reader, b'{"event": "version", "number": 3}', frame, None)[1:] == [
        '  File "agent/a.py", lines 5 to 9, in third'
    ]
    other = b'{"event": "version", "number": 4}'
    assert shown(reader, other, frame, None) == [
        other.decode(),
        "hum-firmware: this build is version 3: tracebacks of 4 stay as they are",
        frame.decode(),
    ]


def test_hostile_bytes_are_escaped_and_lines_and_tracebacks_are_bounded() -> None:
    reader = traceback.Reader(traceback.Build(None, TABLE))
    (line,) = shown(reader, b"a\x1b]0;x\x07\x00\x80\xe2\x80\xae\tb")
    assert line == "a\\x1b]0;x\\x07\\x00\\x80\\u202e\\tb"
    (line,) = shown(reader, b"\xff" * 5000)
    assert line == "\\xff" * traceback.LINE_MOST + "..."
    frame = b'  File "bundle", line 1, in pop'
    assert (
        len(shown(reader, *[frame] * 1000)) >= 1000 - traceback.FRAMES_MOST
    )  # they do not wait for an end that never comes
    assert len(shown(reader, None)) <= traceback.FRAMES_MOST
    assert shown(reader, b'{"event": "version", "number": ' + b"9" * 900 + b"}")
    assert shown(reader, b'{"version"' * 300)


def test_the_build_that_was_made_last_is_taken_and_one_that_is_none_refused(tmp_path: Path) -> None:
    assert traceback.newest(tmp_path) is None
    for number, name in enumerate(("pico-w", "esp32")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "names.json").write_text(json.dumps(TABLE))
        (tmp_path / name / "package.json").write_text(json.dumps({"version": str(number + 5)}))
        time.sleep(0.02)
    assert traceback.newest(tmp_path) == tmp_path / "esp32"
    assert traceback.load(tmp_path / "esp32") == traceback.Build(6, TABLE)
    for text in ("", "{", "[1]", '"x"', '{"agent/x.py": {"functions": []}}'):
        (tmp_path / "esp32/names.json").write_text(text)
        with pytest.raises(FirmwareError, match="holds no build"):
            traceback.load(tmp_path / "esp32")
    with pytest.raises(FirmwareError, match="holds no build"):
        traceback.load(tmp_path / "nowhere")
