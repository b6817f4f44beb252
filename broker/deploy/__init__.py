"""What a deployment runs beside Hum, configured: Mosquitto."""
