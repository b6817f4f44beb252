"""Computations on request: what the gateway asks of coordinators for those who ask it."""
