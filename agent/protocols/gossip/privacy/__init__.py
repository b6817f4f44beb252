"""Differential privacy: terms of a query, noise, and a board's budget."""
