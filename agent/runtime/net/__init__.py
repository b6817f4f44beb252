"""The network: Wi-Fi, names, discovery, and the MQTT client."""
