"""For pytest only: how long Hypothesis takes on a machine that has other things to do is nobody's
failure."""

from hypothesis import HealthCheck, settings

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
