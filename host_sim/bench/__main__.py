"""`python -m host_sim.bench` is `make bench`."""

from host_sim.bench.suite import main

main()
