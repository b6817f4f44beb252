"""What becomes of a question, and what a group answered, as a person reads it. No I/O."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from broker.client.asking import Wanted
from broker.client.units import unit_of
from broker.gateway.computation import Computation
from broker.gateway.page import figures
from broker.gateway.page.cards import State
from broker.gateway.page.figures import Figure

# What it means that there is no answer, or that it is asked again: docs/protocol/gateway.md.
REASONS = {
    "too-late": "Its time was over when the coordinator heard it.",
    "too-far-ahead": "The gateway's clock, or the coordinator's, is wrong by more than an hour.",
    "unknown-group": "The coordinator has no such group.",
    "no-queries": "The group runs sums, and answers no queries.",
    "busy": "Four questions to the group are not over; ask later.",
    "failing": "Four sums on request failed of late; those of the schedule go on.",
    "too-few-sent": "Boards did not send: for a sum on request their policy has to allow one.",
    "too-few": "Fewer boards are there than a query needs.",
    "no-result": "No leader had a result that counts.",
    "incomplete": "Boards vanished while they were asked.",
    "too-many-failed": "More boards vanished than may.",
    "restarted": "The coordinator was started anew in the midst of it.",
    "leaders-disagree": "The leaders contradict each other.",
    "no-agreement": "Too few leaders sent the same result.",
    "unanswered": "Its time is over, and the coordinator has not told how it ended.",
    "result-missed": "It was answered, and the answer did not get here: the broker keeps a group's last alone.",
}


class Bar(NamedTuple):
    """A bin of a histogram: its range in words, how many are in it, and its height, 0 to 100, of
    that of the fullest."""

    range: str
    number: int
    height: float


class Answer(NamedTuple):
    """Values by their names; bins, of a histogram; how many values were `counted`, and how many
    were `left_out`, for there was no reading, or it was out of the range."""

    values: list[tuple[str, Figure]]
    bars: list[Bar]
    counted: int
    left_out: int


def described(wanted: Wanted) -> str:
    """Return a question in a few words."""
    names = {"count": "How many", "top-k": f"Top {wanted.parameters[0]}" if wanted.parameters else "Top"}
    name = names.get(wanted.function, wanted.function.capitalize())
    between = f", {wanted.between[0]} to {wanted.between[1]}" if wanted.between else ""
    return f"{name} of {wanted.slot}{between}"


def state_of(one: Computation) -> State:
    """Return how a question stands."""
    tries = f", try {one.attempt} of {one.wanted.tries}" if one.attempt > 1 else ""
    if one.state == "complete":
        return State("some", "complete, its answer is lost") if one.result is None else State("good", "complete")
    return {
        "asked": State("waiting", "asked"),
        "accepted": State("waiting", "accepted"),
        "open": State("waiting", f"boards are answering{tries}"),
        "again": State("some", f"asked again{tries}"),
        "given-up": State("none", "given up"),
        "unanswered": State("broken", "unanswered"),
    }.get(one.state, State("broken", one.state))


def why(one: Computation) -> str:
    """Return in a sentence why it is asked again, or has no answer; "" if that is not so."""
    return REASONS.get(one.reason, f"{one.reason}.".replace("-", " ")) if one.reason else ""


def answer(wanted: Wanted, result: Mapping[str, Any]) -> Answer:
    """Return what is shown of a result, as broker.client.results.QueryResult has it."""
    unit = unit_of(wanted.slot)
    values = [
        (name, figures.figure(result[name], unit if name != "variance" else unit and f"{unit}²"))
        for name in ("sum", "mean", "variance", "min", "max")
        if result.get(name) is not None
    ]
    values += [(f"{place}.", figures.figure(value, unit)) for place, value in enumerate(result.get("top", ()), 1)]
    counts = [result["below"], *result["bins"], result["above"]] if "bins" in result else []
    return Answer(values, _bars(counts, wanted.parameters, unit), result["count"], result["left_out"])


def _bars(counts: Sequence[int], parameters: Sequence[int], unit: str | None) -> list[Bar]:
    if not counts:
        return []
    low, width, bins = parameters
    edges = [low + index * width for index in range(bins + 1)]
    between = (f"{figures.grouped(edge)} to {figures.grouped(edge + width - 1)}" for edge in edges[:-1])
    ranges = [f"below {figures.grouped(edges[0])}", *between, f"{figures.grouped(edges[-1])} and more"]
    most = max(1, *counts)
    # Noise may have made a count negative.
    bars = [
        Bar(f"{words} {unit or ''}".strip(), count, max(0, count) * 100 / most)
        for words, count in zip(ranges, counts, strict=True)
    ]
    # What is out of all bins is shown where there is something.
    return [bar for place, bar in enumerate(bars) if 0 < place <= bins or bar.number]
