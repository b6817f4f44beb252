"""The application as a ROMFS image: a file system in the flash whose bytecode runs where it is, not
on the heap.

The board's firmware must have a partition for it (docs/operate/boards.md), and `mpremote romfs
deploy` puts the image there. MicroPython mounts it at /rom; /main.py starts what is in it where
there is no version in /a or /b. Nobody signs the image: it goes over the serial port.
"""

import contextlib
import io
import shutil
import tempfile
from pathlib import Path

from mpremote.romfs import make_romfs

FOLDER = "/rom"  # on the board
IMAGE = "romfs.img"


def pack(source: Path, target: Path) -> Path:
    """Make the image `target` of all compiled modules in the folder `source`, and return it."""
    modules = list(source.rglob("*.mpy"))  # now: what follows may be in the same folder
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        for path in modules:
            copy = Path(work) / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        with contextlib.redirect_stdout(io.StringIO()):  # it draws a tree of the files
            target.write_bytes(make_romfs(work, mpy_cross=False))
    return target


def write_image(build: Path) -> Path:
    """Make the image of the application that is built in the folder `build`, in that folder, and
    return it."""
    return pack(build, build / (IMAGE + ".new")).replace(build / IMAGE)
