"""What a board prints, for people: nothing that a terminal would obey, and tracebacks with the
names of the sources.

A board's code has other names than the sources, and no line numbers; the table that the build
recorded beside it (firmware/build/minify/origins.py) tells which function each line of a traceback
can mean.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firmware.build.compile import TABLE
from firmware.device.birth import event
from firmware.errors import FirmwareError

Function = Mapping[str, Any]  # an entry of the table
LINE_MOST = 1000  # bytes of a line that are shown
FRAMES_MOST = 50  # calls that are looked at together
_FRAME = re.compile(r'  File "([^"]+)", line \d+, in (\S+)')
_QUOTED = re.compile(r"'(\w+)'")


def escaped(data: bytes) -> str:
    """Return the line `data` with escapes for what is no UTF-8 or cannot be printed, and "..."
    after LINE_MOST bytes."""
    text = data[:LINE_MOST].decode(errors="backslashreplace")
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return shown + "..." if len(data) > LINE_MOST else shown


@dataclass(frozen=True)
class Build:
    """A build's number, None where it has none, and its table: see origins.py."""

    version: int | None
    table: Mapping[str, Any]


def newest(builds: Path) -> Path | None:
    """Return the folder in `builds` that was built last, None if there is none."""
    tables = sorted(builds.glob(f"*/{TABLE}"), key=lambda path: path.stat().st_mtime)
    return tables[-1].parent if tables else None


def load(folder: Path) -> Build:
    """Return what the build in `folder` recorded. Raises FirmwareError."""
    try:
        table = json.loads((folder / TABLE).read_text())
        package = folder / "package.json"
        version = int(json.loads(package.read_text())["version"]) if package.exists() else None
        if not all({"path", "functions", "names"} <= entry.keys() for entry in table.values()):
            raise ValueError(TABLE)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise FirmwareError(f"{folder} holds no build, or an older one; `make firmware` makes one") from None
    return Build(version, table)


class Reader:
    """Turns a board's lines into what is shown. Lines that `build`, None for no build, says nothing
    about stay as they are."""

    def __init__(self, build: Build | None) -> None:
        self._build = build
        self._modules = build.table if build else {}
        self._frames: list[tuple[str, str, str]] = []  # (line, file, function)

    def read(self, line: bytes | None) -> Iterator[str]:
        """Yield what is to be shown after one more line; None: the board is silent. Calls wait for
        the end of a traceback."""
        text = escaped(line) if line is not None else ""
        frame = _FRAME.fullmatch(text)
        if frame and len(self._frames) < FRAMES_MOST:
            self._frames.append((text, frame[1], frame[2]))
            return
        yield from self._show_frames()
        if line is None:
            self._frames = []
            return
        yield self._with_names(text) if self._frames else text
        self._frames = [(text, frame[1], frame[2])] if frame else []
        yield from self._look_at_version(line)

    def _look_at_version(self, line: bytes) -> Iterator[str]:
        """Stop translating when the board says that it runs another version than the build's."""
        if self._build is None or self._build.version is None or b'"version"' not in line:
            return
        number = (event(line) or {}).get("number")
        if isinstance(number, int) and number not in (0, self._build.version):
            yield f"hum-firmware: this build is version {self._build.version}: tracebacks of {number} stay as they are"
            self._build, self._modules = None, {}

    def _entries(self, file: str) -> list[Mapping[str, Any]]:
        """Return the modules that the board calls `file`."""
        return [entry for path, entry in self._modules.items() if Path(path).stem == file]

    def _show_frames(self) -> Iterator[str]:
        """Yield the calls: each as the functions that it can be."""
        found = [
            [each for entry in self._entries(file) for each in entry["functions"].get(name, [])]
            for _, file, name in self._frames
        ]
        for caller, called in zip(range(len(found)), range(1, len(found)), strict=False):
            name = self._frames[called][2]
            found[caller] = [each for each in found[caller] if _calls(each, name)] or found[caller]
        for at, (text, file, name) in enumerate(self._frames):
            if at:
                found[at] = _called(found[at - 1], file == self._frames[at - 1][1], found[at], name) or found[at]
            yield from _shown(text, found[at]) if found[at] else [self._only_file(text, file)]

    def _only_file(self, text: str, file: str) -> str:
        """Return a call of what has no name in the sources, such as a module, with the file's path
        if it is certain."""
        entries = self._entries(file)
        return text.replace(f'"{file}"', f'"{entries[0]["path"]}"', 1) if len(entries) == 1 else text

    def _with_names(self, text: str) -> str:
        """Return the line after the calls, with what a quoted name was in the module of the last of
        them."""
        entries = self._entries(self._frames[-1][1])

        def named(match: re.Match[str]) -> str:
            was = sorted({each for entry in entries for each in entry["names"].get(match[1], [])})
            return f"{match[0]} ({' or '.join(was)})" if was else match[0]

        return _QUOTED.sub(named, text)


def _calls(function: Function, name: str) -> bool:
    """Tell whether the function can have called one of this name: a class is called by its own."""
    return name in ("__init__", "<lambda>", "<genexpr>", "<listcomp>") or name in function["mentions"]


def _called(callers: list[Function], same_file: bool, functions: list[Function], name: str) -> list[Function]:
    """Return those of `functions`, which have one name, that one of the `callers` can have
    called."""
    if name == "__init__":
        mentioned = {word for each in callers for word in each["mentions"]}
        return [each for each in functions if each["within"] in mentioned]
    if same_file and callers and all(name in each["own"] and each["family"] for each in callers):
        family = {one for each in callers for one in each["family"]}
        return [each for each in functions if each["within"] in family]
    return functions


def _shown(text: str, functions: list[Function]) -> Iterator[str]:
    for number, each in enumerate(functions):
        first, last = each["lines"]
        yield f'{"    or" if number else "  File"} "{each["path"]}", lines {first} to {last}, in {each["name"]}'
