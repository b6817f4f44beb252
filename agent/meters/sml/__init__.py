"""Meters that speak SML."""
