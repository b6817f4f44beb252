"""How the host's processes reach the network."""
