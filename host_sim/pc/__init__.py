"""A board on a PC: the agent as it is on a board, with the PC's files for flash, and its serial
ports for a meter's line."""
