"""`python -m host_sim.bench` is `make bench`."""

from host_sim import ending
from host_sim.bench.suite import main

with ending.heeding_signals():
    main()
