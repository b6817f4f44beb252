"""docs/examples/join_group.py as it is, with its arguments; but for a broker that does not answer it
waits a few seconds at most, and not the minute that a board does. For tests in which brokers are
killed again and again."""

import runpy
from pathlib import Path

from agent.runtime.net import mqtt

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "join_group.py"
BACKOFF_MOST_S = 3


class EagerClient(mqtt.Client):
    """The shipped client, soon back."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.backoff_cap = BACKOFF_MOST_S


if __name__ == "__main__":
    mqtt.Client = EagerClient  # type: ignore[misc]  # before agent.runtime.start takes it
    runpy.run_path(str(EXAMPLE), run_name="__main__")
