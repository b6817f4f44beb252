"""The board itself: clock, watchdog, ticks, diagnostics."""
