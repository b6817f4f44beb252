"""What is broken on the way from the boards to the page, named by its link, with what to do."""

from collections.abc import Iterable
from typing import NamedTuple

from markupsafe import Markup

from broker.gateway.feed import Feed
from broker.gateway.page.figures import moment
from broker.gateway.page.rhythm import Rhythm


class Broken(NamedTuple):
    """A broken link: its two ends, and what to do."""

    link: str
    text: Markup


def broken(feed: Feed, rhythms: Iterable[tuple[str, Rhythm | None]], now: float) -> list[Broken]:
    """Return the links that are broken; `rhythms` are those of the groups that are served.

    While the gateway has no link to the broker nothing is said of what is behind that.
    """
    found = []
    if not feed.keeping:
        text = Markup("The database takes no rounds. Is there room on the disk? The gateway's log says more.")
        found.append(Broken("gateway → its database", text))
    if not feed.linked:
        text = Markup("No link to the broker at {}, since {}. Does it run? Try: hum doctor")
        found.append(Broken("broker → gateway", text.format(feed.broker, moment(feed.changed, "second"))))
        return found
    late = [(name, one) for name, one in rhythms if one and now > max(one.late, feed.changed + one.interval)]
    for name, one in late:
        text = Markup("{} has no result since {}; one was due at {}. Does the coordinator run? Try: hum status")
        found.append(Broken("coordinator → broker", text.format(name, moment(one.last), moment(one.due))))
    return found
