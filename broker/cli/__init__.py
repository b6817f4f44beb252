"""The `hum` command: a module for each group of commands."""
