"""The gateway's HTTP interface, version 1 (docs/operate/gateway.md)."""
