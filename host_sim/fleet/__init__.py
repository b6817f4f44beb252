"""A fleet of MicroPython boards, a broker and a coordinator on one machine."""
