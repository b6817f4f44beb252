"""All input and output of a board is done here.

The first thing a board imports: before anything else, a piece of a small heap is set aside.
Starting and joining scatter small objects over the rest; this piece stays whole, for the big
integers of the masks, until the supervisor lets go of it.
"""

import gc
import sys

if hasattr(gc, "threshold"):
    # Collecting often keeps garbage from scattering what stays over the heap, the code that is
    # loaded now first of all. Where the heap is barely enough, below 22,000 words, that is worth a
    # third of the time that masks take.
    heap = gc.mem_alloc() + gc.mem_free()  # type: ignore[attr-defined]  # MicroPython's alone
    tight = heap // (8 if sys.maxsize > 0xFFFFFFFF else 4) < 22000
    gc.threshold(6144 if tight else 24576)  # bytes
reserve: list[bytearray | None] = [bytearray(6144) if sys.implementation.name == "micropython" else None]
