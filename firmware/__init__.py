"""What turns agent/ into a flashed board."""
