"""`python -m firmware boards`: which boards are known."""

import json

from rich.console import Console
from rich.table import Table

from firmware import boards
from firmware.cli.options import AsJson


def list_boards(as_json: AsJson = False) -> None:
    """List the boards that are known."""
    found = [boards.load(name) for name in boards.names()]
    if as_json:
        for board in found:
            print(json.dumps({**vars(board)}))
        return
    table = Table(title="Boards", title_justify="left")
    for column in ("name", "board", "mpy-cross", "flash", "P1: UART, pin", "S0 pin", "watchdog"):
        table.add_column(column)
    for board in found:
        size = f"{board.blocks * board.block // 1024} kB"
        pin = f"{board.p1_uart}, {board.p1_rx}" if board.s0_pin else "-"
        s0 = str(board.s0_pin or "-")
        table.add_row(board.name, board.title, board.arch or "any", size, pin, s0, f"{board.watchdog_ms} ms")
    Console().print(table)
