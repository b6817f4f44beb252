"""A board at a serial port: what is put on it, asked of it and read from it."""
