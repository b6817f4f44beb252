"""CSV (RFC 4180) and InfluxDB's line protocol."""

import csv
import io
import re

from broker.gateway.exports.exported import COLUMNS, Exported, rfc3339


def as_csv(series: Exported) -> str:
    """Return all steps; what is null is empty."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for one in series.steps:
        writer.writerow((rfc3339(one.start), one.value, one.rounds, one.summed, one.members, one.off_grid))
    return text.getvalue()


def as_lines(series: Exported) -> str:
    """Return the steps that have a value, a line each, stamped with their start in nanoseconds."""
    named = (("deployment", series.deployment), ("group", series.group), ("slot", series.slot))
    tags = ",".join(f"{key}={_escaped(tag)}" for key, tag in named)
    return "".join(
        f"hum,{tags} value={one.value},rounds={one.rounds}i,summed={one.summed}i,members={one.members}i"
        f",off_grid={one.off_grid}i {one.start * 10**9}\n"
        for one in series.steps
        if one.value is not None
    )


def _escaped(tag: str) -> str:
    return re.sub(r"([,= ])", r"\\\1", tag)
