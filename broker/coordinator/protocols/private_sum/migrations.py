"""How tables of private sums of before become the present ones. Each migration looks at what is
there: an earlier program may have been killed in between."""

from sqlalchemy import Connection, inspect

from broker.coordinator.protocols.private_sum.tables import RECORDS, contributions, masks_until, metadata, statements
from broker.storage.schema import Schema


def _add_sets(connection: Connection) -> None:
    """Bring version 1 to version 2: what members say they hold, and under which set."""
    found = inspect(connection)
    for table in (contributions, masks_until):
        if not found.has_table(table.name):
            continue
        known = {column["name"] for column in found.get_columns(table.name)}
        for column in table.columns:
            if column.name not in known:
                kind = column.type.compile(connection.dialect)
                default = column.server_default.arg  # type: ignore[union-attr]  # each new one has one
                connection.exec_driver_sql(
                    f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind} NOT NULL DEFAULT {default}"
                )


def _tell_sides(connection: Connection) -> None:
    """Once there were names of those whose answers were "wrong", in a list; now there are sides."""
    columns = {column["name"] for column in inspect(connection).get_columns("rounds")}
    if "wrong" in columns:
        connection.exec_driver_sql("ALTER TABLE rounds RENAME COLUMN wrong TO disagree")
        connection.exec_driver_sql("UPDATE rounds SET disagree = '[[[], ' || disagree || ']]' WHERE disagree != '[]'")
    if "withstands" not in columns:
        connection.exec_driver_sql("ALTER TABLE rounds ADD COLUMN withstands INTEGER")


def _add_instants(connection: Connection) -> None:
    """Once there were no instants."""
    _add_columns(connection, "instant INTEGER")


def _add_attendance(connection: Connection) -> None:
    """Once nobody asked who took part, and why there was no sum."""
    _add_columns(connection, "why VARCHAR", "attendance VARCHAR")


def _add_requests(connection: Connection) -> None:
    """Once all rounds were on the grid, and nobody asked for others."""
    _add_columns(connection, "off_grid BOOLEAN NOT NULL DEFAULT 0")


def _add_columns(connection: Connection, *columns: str) -> None:
    """Add those of `columns`, each a name and a type, that the rounds lack."""
    known = {column["name"] for column in inspect(connection).get_columns("rounds")}
    for column in columns:
        if column.split()[0] not in known:
            connection.exec_driver_sql(f"ALTER TABLE rounds ADD COLUMN {column}")


SCHEMA = Schema(
    "private-sum",
    metadata,
    RECORDS,
    statements,
    (_add_sets, _tell_sides, _add_instants, _add_attendance, _add_requests),
    file_versions={3: 1, 4: 1, 5: 1},
)
