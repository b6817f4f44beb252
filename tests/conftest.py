"""For pytest only: how long Hypothesis takes on a machine that has other things to do is nobody's
failure, and Ctrl-C reaches what the tests start."""

import signal

from hypothesis import HealthCheck, settings

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# A shell's job in the background ignores Ctrl-C, and so would all processes that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
