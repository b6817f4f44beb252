"""What the modules of each port's firmware have, from the registry's stub packages: ports.json.

    .venv/bin/python -m tests.support.firmware.ports          downloads them and writes the table anew

The packages hold files of the same names, so that only one of them can be installed beside this
project; the table has the names alone (of modules, and of the classes in them) and the numbers of
constants.
"""

import ast
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

TABLE = Path(__file__).with_name("ports.json")
MODULES = ("esp32", "machine", "network", "socket")
# The least version that a board may have, and the latest. The stubs of a Pico W leave 1.27 out; a
# Pico 2 W has the same radio and the same network stack.
PACKAGES = (
    "micropython-esp32-stubs==1.27.0.post1",
    "micropython-esp32-stubs==1.29.0.post1",
    "micropython-rp2-rpi-pico2-w-stubs==1.27.0.post1",
    "micropython-rp2-rpi-pico-w-stubs==1.29.0.post1",
)

Names = dict[str, "int | Names | None"]


def names(body: list[ast.stmt]) -> Names:
    """Return what a module or a class has: the number of a constant, the names of a class, None for
    the rest."""
    found: Names = {}
    for node in body:
        match node:
            case ast.ClassDef(name=name, body=inside):
                found[name] = names(inside)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found[name] = None
            case ast.AnnAssign(target=ast.Name(id=name), value=value):
                found[name] = number(value)
            case ast.Assign(targets=[ast.Name(id=name)]):
                found[name] = None
    return {name: found[name] for name in sorted(found) if not name.startswith("_")}


def number(value: ast.expr | None) -> int | None:
    try:
        found = ast.literal_eval(value) if value else None
    except ValueError:
        return None
    return found if isinstance(found, int) else None


def read(wheel: Path) -> Names:
    """Return the MODULES in a package."""
    with zipfile.ZipFile(wheel) as files:
        paths = {path.removesuffix(".pyi").removesuffix("/__init__"): path for path in files.namelist()}
        return {name: names(ast.parse(files.read(paths[name])).body) for name in MODULES if name in paths}


def main() -> None:
    table = {}
    with TemporaryDirectory() as folder:
        for package in PACKAGES:
            target = Path(folder) / package
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(target), package]
            subprocess.run(command, check=True)
            (wheel,) = target.iterdir()
            table[package] = read(wheel)
    TABLE.write_text(json.dumps(table, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
