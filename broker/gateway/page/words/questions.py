"""A question, as the fields of a form have it. No I/O."""

from collections.abc import Callable

from pydantic import ValidationError

from broker.client.asking import FUNCTIONS
from broker.gateway.http.computation_bodies import Wish
from broker.gateway.http.problems import Problem

WORDS = {
    "sum": "sum",
    "mean": "mean",
    "count": "how many are in a range",
    "min": "the least",
    "max": "the greatest",
    "variance": "variance",
    "histogram": "histogram: how many are in each bin",
    "top-k": "top-k: the k greatest",
}
# What a form has beside function and slot; the values are what it begins with.
FIELDS = {
    "low": "0",
    "width": "",
    "bins": "10",
    "k": "5",
    "from": "",
    "to": "",
    "epsilon": "0",
    "record_epsilon": "0",
    "tries": "3",
}
NAMES = {
    "low": "where the first bin begins",
    "width": "how wide a bin is",
    "bins": "how many bins",
    "k": "how many values",
    "from": "the least value that counts",
    "to": "the greatest value that counts",
    "between": "the range of values that count",
    "parameters": "bins or values",
    "epsilon": "noise on each group's result",
    "record_epsilon": "paired noise on each reading",
    "tries": "how often it is asked at most",
}
FIELD_MOST = 32  # characters: a slot's name; a number has fewer
NUMBER_MOST = 20


def wish(field: Callable[[str], str]) -> Wish:
    """Return what a form asks for, whose fields `field` returns, "" for those that it has not.
    Raises Problem 422 with a sentence that says what to do."""
    function = field("function")
    if function not in WORDS:
        raise Problem(422, "invalid", "choose what is asked")
    low, high = field("from"), field("to")
    if bool(low) != bool(high):
        raise Problem(422, "invalid", "only values in a range: give both its ends, or neither")
    given = {
        "slot": field("slot"),
        "function": function,
        "parameters": [_whole(name, field(name)) for name in FUNCTIONS[function]],
        "between": [_whole("from", low), _whole("to", high)] if low else None,
        "epsilon": field("epsilon") or "0",
        "record_epsilon": field("record_epsilon") or "0",
        "tries": field("tries") or "1",
    }
    try:
        return Wish.model_validate(given)
    except ValidationError as error:
        fault = error.errors()[0]
        name = str(fault["loc"][0])
        raise Problem(422, "invalid", f"{NAMES.get(name, name)}: {fault['msg'].lower()}") from None


def _whole(name: str, text: str) -> int:
    digits = text[1:] if text[:1] == "-" else text
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= NUMBER_MOST):
        raise Problem(422, "invalid", f"{NAMES[name]}: a whole number is wanted")
    return int(text)
