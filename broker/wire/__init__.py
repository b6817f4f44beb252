"""What the coordinator and its gateway say to each other (docs/protocol/gateway.md). No board loads
any of it."""
