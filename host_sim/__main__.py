"""`python -m host_sim` is the `hum-sim` command."""

from host_sim.cli import main

main()
