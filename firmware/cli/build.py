"""`python -m firmware build`: the application, compiled and signed, or plain for whoever looks for
a fault."""

from typing import Annotated, Any

import typer

from broker.authority.authority import Authority
from broker.cli.options import show
from firmware import boards
from firmware.build import version as builds
from firmware.build.romfs import write_image
from firmware.cli.options import AUTHORITY, BUILDS, AsJson, AuthorityFolder, BoardName, BuildFolder, progress
from firmware.errors import FirmwareError

Version = Annotated[int | None, typer.Option(help="The version's number; one more than the last if not given.", min=1)]
Romfs = Annotated[
    bool, typer.Option("--romfs", help="Write romfs.img, too, for firmware with a ROMFS (docs/operate/boards.md).")
]
Plain = Annotated[
    bool,
    typer.Option(
        "--plain",
        help="Module by module as written, with line numbers, into build/BOARD-plain. Too large for a release: not signed.",
    ),
]


def build(
    board: BoardName,
    target: BuildFolder = None,
    folder: AuthorityFolder = AUTHORITY,
    version: Version = None,
    romfs: Romfs = False,
    plain: Plain = False,
    as_json: AsJson = False,
) -> None:
    """Compile the application for a board and sign it."""
    kind = boards.load(board)
    target = target or BUILDS / (f"{board}-plain" if plain else board)
    fields: dict[str, Any] = {"board": board}
    if plain:
        if version is not None:
            raise FirmwareError("--version is for what is signed, and what --plain builds is not")
        files, size = builds.build_plain(kind, target, progress("compiled"))
        fields |= {"files": files, "bytes": size}
    else:
        built = builds.build(kind, target, Authority(folder), version, progress("compiled"))
        fields |= {"version": built.version, "files": built.files, "bytes": built.size}
    if romfs:
        image = write_image(target)
        fields |= {"image": str(image), "image_bytes": image.stat().st_size}
    fields["folder"] = str(target)
    show(as_json, fields if plain else fields | {"changed": built.changed})
