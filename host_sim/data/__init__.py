"""Household data for demo and simulations."""
