"""Rounds off the grid, which somebody asked for."""
