"""The groups of commands of `hum`, found by their entry points: each package brings its own, and a
group is loaded when it is called.

An entry point of GROUP is called as its command is, and names a Typer application or, for a single
command, a function.
"""

import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from broker.cli.help import WholeHelp, fitting
from broker.cli.options import one_line
from broker.errors import HumError

GROUP = "hum.commands"


class CommandsError(HumError):
    """A group of commands is of no use. args[0] says why."""


@lru_cache(1)  # to find them all packages are read, and a list of commands asks for each of them
def _points(path: tuple[str, ...]) -> EntryPoints:
    """Return the entry points of GROUP of all packages that are installed in sys.path, which is
    `path`."""
    return entry_points(group=GROUP)


class Commands(WholeHelp):
    """What `hum` knows: the entry points that are installed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all groups. Raises CommandsError if there is none."""
        names = sorted(_points(tuple(sys.path)).names)
        if not names:
            raise CommandsError("no commands are installed; run `make setup`, or pip install again")
        return names

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | TyperGroup | None:
        """Return a group by its name. One that does not load says so when it is called, and keeps
        no other from being listed."""
        found = list(_points(tuple(sys.path)).select(name=cmd_name))
        if not found:
            return None
        try:
            return fitting(_loaded(cmd_name, found))
        except CommandsError as error:
            return _broken(cmd_name, error)


def _loaded(name: str, found: list[EntryPoint]) -> TyperCommand | TyperGroup:
    if len(found) > 1:
        raise CommandsError(f"`hum {name}` is brought by several packages: {', '.join(sorted(map(_origin, found)))}")
    try:
        brought = found[0].load()
        holder = typer.Typer(rich_markup_mode=None)
        if isinstance(brought, typer.Typer):
            holder.add_typer(brought, name=name)
        else:
            holder.command(name)(brought)
        return _only(holder)
    except Exception as error:  # of another package, whatever it is
        what = f"{type(error).__name__}: {one_line(error)}"
        raise CommandsError(f"`hum {name}`, of {_origin(found[0])}, does not load: {what}") from error


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} ({point.value})" if point.dist else point.value


def _broken(name: str, error: CommandsError) -> TyperCommand | TyperGroup:
    def refuse() -> NoReturn:
        raise error

    holder = typer.Typer(rich_markup_mode=None)
    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    holder.command(name, context_settings=settings, add_help_option=False, help=f"Broken: {error}")(refuse)
    return _only(holder)


def _only(holder: typer.Typer) -> TyperCommand | TyperGroup:
    (command,) = typer.main.get_group(holder).commands.values()
    assert isinstance(command, TyperCommand | TyperGroup)
    return command
