"""Code that is put on a board as it is written, beside the application."""
