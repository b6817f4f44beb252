"""Brings a database file to the tables that this program writes.

PRAGMA user_version is the version of the file. In a file of version 6 the table `versions` has a
number for the tables of each schema; in versions 3 to 5 one number stood for all of them, and each
schema says what it meant (broker/storage/schema.py). A file of another version is refused, as are
tables of a version that is not known yet.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, inspect, select
from sqlalchemy.dialects.sqlite import insert

from broker.storage import tables
from broker.storage.schema import Schema

FILE_VERSION = 6
OLD_FILE_VERSIONS = (3, 4, 5)


class StorageError(Exception):
    """The database is of no use to this version. args[0] says why."""


def bring_up(engine: Engine, schemas: Sequence[Schema]) -> None:
    """Make what is missing of the tables, and bring older ones up, all at once. Raises StorageError
    for what is unknown; the file is then as it was."""
    wanted = {schema.name: schema.version for schema in schemas}
    with engine.connect() as connection:
        if _is_as_wanted(connection, schemas, wanted):
            return
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # two processes may both find an old file
        _check_file_version(connection)
        known = _versions(connection, schemas)
        for schema in schemas:
            _bring_up(connection, schema, known.get(schema.name))
        for name, version in wanted.items():
            row = insert(tables.versions).values(schema=name, version=version)
            connection.execute(row.on_conflict_do_update(index_elements=["schema"], set_={"version": version}))
        connection.exec_driver_sql(f"PRAGMA user_version={FILE_VERSION}")
        connection.commit()


def check(engine: Engine, schemas: Sequence[Schema]) -> None:
    """Raise StorageError unless the tables are those that this program writes: nothing is brought
    up."""
    with engine.connect() as connection:
        if not _is_as_wanted(connection, schemas, {schema.name: schema.version for schema in schemas}):
            _check_file_version(connection)
            raise StorageError("the database is of another version; `hum coordinator` brings an older one up")


def _check_file_version(connection: Connection) -> None:
    file_version = _file_version(connection)
    if file_version not in (FILE_VERSION, *OLD_FILE_VERSIONS) and inspect(connection).get_table_names():
        raise StorageError(
            f"the database file has version {file_version}, and this program reads version {FILE_VERSION}; "
            "move it away, and sign the next roster for the coordinator to begin anew"
        )


def _is_as_wanted(connection: Connection, schemas: Sequence[Schema], wanted: dict[str, int]) -> bool:
    if _file_version(connection) != FILE_VERSION or _missing(connection, schemas):
        return False
    return wanted.items() <= _versions(connection, schemas).items()


def _bring_up(connection: Connection, schema: Schema, found: int | None) -> None:
    """Bring up the tables of one schema, of which the file has the version `found`, if any."""
    if found is not None and not 1 <= found <= schema.version:
        raise StorageError(
            f"the tables of {schema.name} are of version {found}, and this program knows version {schema.version}; "
            "run the program that made them"
        )
    if found is not None:
        for migrate in schema.migrations[found - 1 :]:
            migrate(connection)
    schema.metadata.create_all(connection)


def _file_version(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar() or 0)


def _versions(connection: Connection, schemas: Sequence[Schema]) -> dict[str, int]:
    """Return the versions that the file has, by the names of schemas."""
    file_version = _file_version(connection)
    if file_version != FILE_VERSION:
        named = ((schema.name, schema.file_versions.get(file_version)) for schema in schemas)
        return {name: version for name, version in named if version is not None}
    if not inspect(connection).has_table(tables.versions.name):
        return {}
    return {row.schema: row.version for row in connection.execute(select(tables.versions))}


def _missing(connection: Connection, schemas: Sequence[Schema]) -> set[str]:
    wanted = {name for schema in schemas for name in schema.metadata.tables}
    return wanted - set(inspect(connection).get_table_names())
