"""What a query's modules ask of each other. Types only: a board has no such module in memory."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Protocol, TypeAlias

    from agent.protocols.gossip.node import Node
    from agent.protocols.gossip.plan import Phase, Plan

    Random: TypeAlias = Callable[[int], bytes]  # random(k) returns k random bytes
    State: TypeAlias = tuple[int, ...]  # agent/protocols/gossip/functions.py
    Clause: TypeAlias = tuple[int, int]  # the least and the greatest value that counts
    Work: TypeAlias = Generator[None, None, None]  # a yield a short step
    Verdict: TypeAlias = Generator[None, None, str | None]  # why something is refused, or None
    Path: TypeAlias = tuple[list[int], list[int]]  # ids visited, rounds in which each move is made
    Draw: TypeAlias = tuple[list[int], list[Path], int]  # what draw() of phases/shuffle.py returns
    # genuine(tuple) returns whether its proof holds
    Genuine: TypeAlias = Callable[[bytes], Generator[None, None, bool]]
    # finish(count, seed, state) returns the state that a leader sends: with its noise
    Finish: TypeAlias = Callable[[int, bytes, State], State]

    class NodeSecrets(Protocol):
        """agent.protocols.gossip.onion.secrets.Secrets, as nodes and phases see it."""

        def onion(
            self, path: list[int], rounds: list[int], payload: bytes, hops_most: int
        ) -> Generator[None, None, bytes]:
            """Return a cell that carries `payload` along `path`. Raises OnionError."""

        def peel(
            self, cell: bytes, hops_most: int, payload_size: int
        ) -> Generator[None, None, tuple[int | None, bytes]]:
            """Return (round to forward in, next cell) or (None, payload). Raises OnionError."""

        def seal(self, to: int, part: bytes, payload: bytes) -> bytes:
            """Return `payload` sealed, 16 bytes longer; `part`, of the nonce, is never the same
            twice in a query."""

        def open(self, sender: int, part: bytes, sealed: bytes) -> bytes | None:
            """Return what `sender` has sealed for this one, or None if it has not."""

        def sign(self, message: bytes) -> Generator[None, None, bytes]:
            """Return a signature of 64 bytes, which holds in this query only."""

        def verify(self, peer: int, message: bytes, signature: bytes) -> Generator[None, None, bool]:
            """Return whether sign() of `peer` made this."""

    class RunningPhase(Protocol):
        """A phase as one node runs it. What is called returns None, or a generator of short steps
        if there is more work than a moment's."""

        def enter(self, r: int) -> Work | None:
            """Round r of the phase begins, its message is not sent yet."""

        def take(self, r: int, cells: list[bytes]) -> Work | None:
            """Take the predecessor's message of round r, at most `capacity` cells of `cell_size`
            bytes each."""

        def end(self) -> Work | None:
            """The phase's last round was left."""

    class PhaseKind(Protocol):
        """What agent/protocols/gossip/phases/catalogue.py has: one of the phases' classes."""

        def shape(self, plan: Plan) -> tuple[int, int, int]:
            """Return (rounds, sixteenths of a cell in a message of the busiest round, on average;
            bytes of a cell)."""

        def __call__(self, node: Node, phase: Phase, before: RunningPhase | None) -> RunningPhase:
            """Begin the phase at a node; `before` is the preceding one, or None."""
