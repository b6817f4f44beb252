"""Real machines on a simulated network and a virtual clock."""
