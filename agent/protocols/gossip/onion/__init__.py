"""Onions, the tuples inside them, what makes a tuple genuine, and the layers that are made
ahead."""
