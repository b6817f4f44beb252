"""The monotonic clock under one name on both interpreters: MicroPython's ticks wrap around, so use
ticks_diff to compare."""

try:
    from time import ticks_diff, ticks_ms, ticks_us  # type: ignore[attr-defined]
except ImportError:  # CPython
    from time import monotonic_ns

    def ticks_us():
        """Microseconds."""
        return monotonic_ns() // 1000

    def ticks_ms():
        """Milliseconds."""
        return monotonic_ns() // 1000000

    def ticks_diff(later, earlier):
        """later - earlier, where both are ticks of the same kind."""
        return later - earlier
