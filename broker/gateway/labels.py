"""Areas: a label expression names a union of whole groups, never a part of one. Two parts that
differ by one member would be that member's reading."""

from collections.abc import Mapping, Sequence

from broker import names

LENGTH_MOST = 512  # characters


class LabelError(ValueError):
    """An expression cannot be read. args[0] says what is wanted."""


def groups_of(expression: str, labels: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the groups that an expression names, of those in `labels`. Raises LabelError.

    `north` names the groups with that label, `feeder=7,kind=heat-pump` those with both,
    `floor=3|floor=4` those with either, `!north` those without it. A comma binds less than a bar.
    """
    wanted = [[_read(term) for term in part.split("|")] for part in expression.split(",")]
    return sorted(
        group
        for group, own in labels.items()
        if all(any((label in own) is has for label, has in alternatives) for alternatives in wanted)
    )


def _read(term: str) -> tuple[str, bool]:
    label = term.removeprefix("!")
    if not names.fits_label(label):
        raise LabelError("labels are NAME or NAME=VALUE, with , for and, | for or, ! for not: feeder=7,!north")
    return label, label == term
