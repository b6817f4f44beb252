"""What runs on the board in a measurement."""
