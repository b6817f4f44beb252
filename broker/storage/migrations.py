"""The form of the database file, and how one of an older form gets the present one. PRAGMA
user_version tells it.

Form 3 lacks the table of queries, form 4 in it the columns of noise: both are added. A file of
another form is refused.
"""

from sqlalchemy import Connection, Engine, inspect

from broker.storage import tables

FORM = 5
WITHOUT_NOISE = 4
WITHOUT_QUERIES = 3


class StorageError(Exception):
    """The database is of no use to this version. args[0] says why."""


def bring_up(engine: Engine) -> None:
    """Make what is missing of the tables, all at once. Raises StorageError for a form that is
    unknown; the file is then as it was."""
    with engine.connect() as connection:
        if _form(connection) == FORM and _missing(connection) == set():
            return
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # two processes may both find an old file
        form = _form(connection)
        if form not in (FORM, WITHOUT_NOISE, WITHOUT_QUERIES) and inspect(connection).get_table_names():
            raise StorageError(
                f"the database is of form {form}, and this version reads form {FORM}; "
                "move it away, and sign the next roster for the coordinator to begin anew"
            )
        if form == WITHOUT_NOISE:
            _add_noise(connection)
        tables.metadata.create_all(connection)
        connection.exec_driver_sql(f"PRAGMA user_version={FORM}")
        connection.commit()


def _form(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar() or 0)


def _missing(connection: Connection) -> set[str]:
    return set(tables.metadata.tables) - set(inspect(connection).get_table_names())


def _add_noise(connection: Connection) -> None:
    """Add the columns of noise to the table of queries, those that are missing: an earlier version
    may have been killed in between."""
    found = inspect(connection)
    if not found.has_table(tables.queries.name):
        return
    known = {column["name"] for column in found.get_columns(tables.queries.name)}
    for column in tables.noise_columns():
        if column.name not in known:
            default = "NOT NULL DEFAULT 0" if column.server_default is not None else ""
            connection.exec_driver_sql(f"ALTER TABLE queries ADD COLUMN {column.name} INTEGER {default}")
