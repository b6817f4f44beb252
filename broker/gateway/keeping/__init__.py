"""Rounds on their way into the database, also those that were over while the gateway was away."""
