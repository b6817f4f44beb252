"""How the host's processes reach the network: the one place on the host that speaks MQTT."""
