"""How members stand and how rounds go: what was told last, and what of it is new to who listens."""

from broker.gateway.members.told import Board, Members

__all__ = ["Board", "Members"]
