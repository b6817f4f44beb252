"""Computations that programs ask for, on the broker of the home."""

from collections.abc import Callable, Collection

from sqlalchemy.exc import SQLAlchemyError

from broker.client.access import ClientError
from broker.client.asking import Wanted, check, cost_of
from broker.gateway.book import computations
from broker.gateway.book.book import Book, beside
from broker.gateway.book.computations import Busy
from broker.gateway.computation import Computation
from broker.gateway.computations.service import Computations
from broker.gateway.programs.computing import RequestRefused
from broker.gateway.programs.requests import KeptError

PROGRAMS = "mqtt"  # in place of a token's name


class AskedByPrograms:
    """Asks the groups that `served` returns."""

    def __init__(self, book: Book, live: Computations, served: Callable[[], Collection[str]]) -> None:
        self._book = book
        self._live = live
        self._served = served

    async def ask(self, group: str, wanted: Wanted, seconds: int) -> Computation:
        """Ask a group. Raises KeptError, RequestRefused."""
        found = self._live.watch.group(group) if group in self._served() else None
        if found is None:
            raise RequestRefused("unknown-group", f"no group {group} is served, or the broker has no roster of it yet")
        try:
            check(wanted, found)
            cost = cost_of(wanted, found)
            made = await beside(self._book.write, computations.ask, group, wanted, seconds, cost, PROGRAMS)
        except ClientError as error:
            raise RequestRefused("cannot-be-asked", error.args[0]) from None
        except Busy:
            raise RequestRefused("busy", "as many computations as there may be are not over") from None
        except (SQLAlchemyError, TimeoutError) as error:
            raise KeptError from error
        self._live.asked(made)
        return made

    async def one(self, number: int) -> Computation | None:
        """Return a computation, if there is one. Raises KeptError."""
        try:
            return await beside(self._book.read, computations.one, number)
        except (SQLAlchemyError, TimeoutError) as error:
            raise KeptError from error
