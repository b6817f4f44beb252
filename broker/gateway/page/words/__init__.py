"""How members, rounds and questions are put into words, for the views that show them. No I/O."""
