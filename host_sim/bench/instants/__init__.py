"""What instants cost and what a spread does: `hum-sim bench spread`."""
