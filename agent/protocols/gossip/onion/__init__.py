"""Onions, the tuples inside them, the proofs of tuples, and the layers that are made ahead."""
