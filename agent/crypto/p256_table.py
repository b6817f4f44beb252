"""The table of multiples of the base point that p256.py makes at its first use: a board keeps it
while p256 leaves the memory."""

kept = [b""]
