"""A board's heap, with words of 32 bits, from that of the unix port of MicroPython, with 64.

An object is a whole number of words on both, so on a board it takes half; bytes take what they
take. With h the heap and b what in it is bytes (bytecode, names and their numbers, texts, keys), a
board's heap is (h + b)/2. A unix port of 32 bits (1.25, i386), in which the same board joined, had
87.1 kB where this says 89.0.
"""

from typing import Any

from host_sim.bench import mpy_file

# Bytes of a place in the table of names: a pointer, a hash of 2 and a length of 1.
POOL_32, POOL_64 = 7, 11


def stock(live: int, contents: list[mpy_file.Content], names: dict[str, int], data: int, loaded: int) -> dict[str, Any]:
    """Return the figures of a heap with `live` bytes, `data` of them keys, and with the code of
    `contents`, all of it on the heap: `loaded` bytes with all that loading it makes."""
    places, strings = _places(names["n_qstr"]), names["n_str_data_bytes"]
    plain = sum(each.code + each.names + each.texts for each in contents) + strings + places * (2 * POOL_32 - POOL_64)
    all_32, modules_32 = (live + plain + data) // 2, (loaded + plain) // 2
    of_code = {
        "of it bytecode": sum(each.code for each in contents),
        "of it names": strings + places * POOL_32,
        "of it tables and constants": sum(each.names + each.texts + each.objects for each in contents),
    }
    return {
        "64-bit port, measured": live,
        "32-bit words: .mpy files on stock firmware": all_32,
        **of_code,
        "of it functions, classes, modules": modules_32 - sum(of_code.values()),
        "of it keys, shares, link, other objects": all_32 - modules_32,
        "names": names["n_qstr"],
        "functions": sum(each.functions for each in contents),
        "modules": len(contents),
    }


def in_rom(live: int, contents: list[mpy_file.Content], names: int, strings: int, data: int) -> dict[str, Any]:
    """The same where bytecode, texts and the letters of names are in a ROMFS, but for `strings`
    bytes. `names` are counted."""
    places = _places(names)
    tables = sum(each.names for each in contents)
    heap_32 = (live + tables + strings + places * (2 * POOL_32 - POOL_64) + data) // 2
    return {
        "64-bit port, code in a ROMFS, measured": live,
        "32-bit words: code in a ROMFS": heap_32,
        "32-bit words: frozen into the firmware, computed": heap_32
        - tables
        - sum(each.objects for each in contents)
        - strings
        - places * POOL_32,
    }


def _places(names: int) -> int:
    """Return the places in tables that hold so many names: each new table is twice the last
    (MicroPython's py/qstr.c)."""
    places = size = 20
    while places < names:
        size *= 2
        places += size
    return places
