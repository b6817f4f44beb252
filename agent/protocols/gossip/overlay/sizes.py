"""Sizes and limits that the plan of a query and its phases have in common."""

ID = 2  # bytes of a virtual id
IDENTITY = 8  # random bytes that make two equal values of two boards two tuples
VALUE = 8  # bytes of a value, big-endian two's complement
SEAL = 16  # bytes that sealing adds (AES-CCM-16-128-128)
ROUNDS_MOST = 255  # an onion's instruction is a byte, and 255 is taken
NODES_MOST = 0xFFFF
FEW = 64  # up to so many nodes, a phase in which every node meets every other is short enough
