"""`python -m firmware boards`: which boards are known."""

import json

from broker.cli.tables import show_table
from firmware import boards
from firmware.cli.options import AsJson

COLUMNS = ("name", "board", "mpy-cross", "flash", "P1: UART, pin", "S0 pin", "watchdog")


def list_boards(as_json: AsJson = False) -> None:
    """List the boards that are known."""
    found = [boards.load(name) for name in boards.names()]
    if as_json:
        for board in found:
            print(json.dumps({**vars(board)}))
        return
    show_table("Boards", COLUMNS, [_row(board) for board in found])


def _row(board: boards.Board) -> dict[str, str]:
    size = f"{board.blocks * board.block // 1024} kB"
    pin = f"{board.p1_uart}, {board.p1_rx}" if board.s0_pin else "-"
    cells = (
        board.name,
        board.title,
        board.arch or "any",
        size,
        pin,
        str(board.s0_pin or "-"),
        f"{board.watchdog_ms} ms",
    )
    return dict(zip(COLUMNS, cells, strict=True))
