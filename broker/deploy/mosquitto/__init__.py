"""Mosquitto's configuration: generated, anonymous access off, each board confined to its own
topics."""
