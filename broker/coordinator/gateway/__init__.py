"""What the coordinator tells its gateway, and takes from it (docs/protocol/gateway.md). Without a
gateway none of it is there."""
