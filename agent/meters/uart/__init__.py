"""What meters at a UART have in common: the port, what a telegram tells, what a line looks like."""
