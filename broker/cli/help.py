"""What `--help` shows: of a group of commands the first paragraph of each, all of it; and on a
narrow screen what each option is below its name, where it would not fit beside it."""

import shutil
from typing import Any, TypeVar

from typer.core import TyperGroup

WIDE = 58  # columns; on fewer a description has no room beside what it is of
MOST = 80
DEEPER = 3  # steps that a description below its term is indented
LEAST = 20  # columns

# Typer's own classes: it brings what it builds on with it, or does not, by its version.
_Context: Any = TyperGroup.context_class
_Formatter: Any = _Context.formatter_class
Command = TypeVar("Command")


class FittingFormatter(_Formatter):  # type: ignore[misc]  # of which package it is, Typer knows
    """Help that fits the screen, however narrow."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        fits = min(shutil.get_terminal_size().columns, max_width or MOST) - 2
        super().__init__(indent_increment, width or max(fits, LEAST), max_width)

    def write_dl(self, rows: Any, col_max: int = 30, col_spacing: int = 2) -> None:
        """Write a list of terms and what they are, (term, description) each."""
        if self.width >= WIDE:
            super().write_dl(rows, col_max, col_spacing)
            return
        for term, description in rows:
            self.write_text(term)
            for _ in range(DEEPER):
                self.indent()
            self.write_text(description)
            for _ in range(DEEPER):
                self.dedent()


class FittingContext(_Context):  # type: ignore[misc]  # as above
    """What a command runs in; its help fits the screen."""

    formatter_class = FittingFormatter


class WholeHelp(TyperGroup):
    """A group whose commands' descriptions wrap; as it comes, a long one is cut."""

    context_class = FittingContext

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name, None if there is none."""
        return fitting(super().get_command(ctx, cmd_name))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands that are not hidden, a row each."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, _first(command.help or "")) for name, command in found if command and not command.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def fitting(command: Command) -> Command:
    """Have a command's help fit the screen, and return it."""
    found: Any = command
    if found is not None:
        found.context_class = FittingContext
    return command


def _first(description: str) -> str:
    return " ".join(description.strip().split("\n\n")[0].split())
