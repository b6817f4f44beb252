"""All that does I/O on a board.

The first thing a board imports: before anything else, a piece of a small heap is set aside. Starting and joining scatter small
objects over the rest; this piece stays whole, for the big integers of the masks, until the supervisor lets go of it.
"""

import gc
import sys

GARBAGE_MOST = 24576  # bytes

if hasattr(gc, "threshold"):
    # Collecting often keeps garbage from scattering what stays over the heap, the code that is loaded now first of all.
    gc.threshold(GARBAGE_MOST)
reserve = [bytearray(6144) if sys.implementation.name == "micropython" else None]
