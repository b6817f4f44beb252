"""The monotonic clock under one name on both interpreters: MicroPython's ticks wrap around, so use
ticks_diff to compare."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    ticks_us: Callable[[], int]
    ticks_ms: Callable[[], int]
    ticks_diff: Callable[[int, int], int]

try:
    from time import ticks_diff, ticks_ms, ticks_us  # type: ignore[attr-defined, no-redef]  # MicroPython's alone
except ImportError:  # CPython
    import time

    def ticks_us() -> int:
        """Microseconds."""
        return time.monotonic_ns() // 1000

    def ticks_ms() -> int:
        """Milliseconds."""
        return time.monotonic_ns() // 1000000

    def ticks_diff(later: int, earlier: int) -> int:
        """later - earlier, where both are ticks of the same kind."""
        return later - earlier
