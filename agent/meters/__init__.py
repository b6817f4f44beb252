"""Readings. A meter has one method, read(round), which returns the slots' values as integers, or None if it has none."""
