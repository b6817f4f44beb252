"""Home Assistant has each group as a device: what it discovers on its own broker, event by event.
The states are those that programs read."""
