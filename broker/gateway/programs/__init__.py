"""MQTT for programs, on the broker of the home, in the shape of Zigbee2MQTT: what is there is
retained as JSON, and a request is answered. Sums only, never a board's reading."""
