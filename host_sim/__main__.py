"""`python -m host_sim` is the `hum-sim` command."""

from host_sim.start import hum_sim

hum_sim()
