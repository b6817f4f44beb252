"""A protocol from outside: in each round every board sends every other one letter, and tells the
coordinator how many it got; the coordinator publishes how many that were in all."""
