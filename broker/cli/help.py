"""What `--help` shows of a group of commands: the first paragraph of each, all of it."""

from typing import Any

from typer.core import TyperGroup


class WholeHelp(TyperGroup):
    """A group whose commands' descriptions wrap; as it comes, a long one is cut."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands that are not hidden, a row each."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, _first(command.help or "")) for name, command in found if command and not command.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _first(description: str) -> str:
    return " ".join(description.strip().split("\n\n")[0].split())
