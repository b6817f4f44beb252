"""Apache Parquet, by pyarrow: an extra of the package, since it is larger than all else."""

import io

from broker.gateway.exports.exported import Exported

LIBRARY = "pyarrow"  # the extra `parquet` has it


class ParquetMissing(Exception):
    """pyarrow is not installed."""


def as_parquet(series: Exported) -> bytes:
    """Return all steps as a file of one row group, with the columns of exported.COLUMNS; `start` is
    in milliseconds of UTC, and what is null is null. The schema's metadata tells what it is of.
    Raises ParquetMissing."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ParquetMissing from None
    of = {"deployment": series.deployment, "group": series.group, "slot": series.slot, "step_s": str(series.length)}
    of |= {"unit": series.unit} if series.unit else {}
    schema = pyarrow.schema(
        [
            pyarrow.field("start", pyarrow.timestamp("ms", "UTC"), nullable=False),
            pyarrow.field("value", pyarrow.float64()),
            pyarrow.field("rounds", pyarrow.int32(), nullable=False),
            pyarrow.field("summed", pyarrow.int32()),
            pyarrow.field("members", pyarrow.int32()),
            pyarrow.field("off_grid", pyarrow.int32(), nullable=False),
        ],
        metadata=of,
    )
    columns = [
        [one.start * 1000 for one in series.steps],
        [one.value for one in series.steps],
        [one.rounds for one in series.steps],
        [one.summed for one in series.steps],
        [one.members for one in series.steps],
        [one.off_grid for one in series.steps],
    ]
    arrays = [pyarrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=schema), file)
    return file.getvalue()
