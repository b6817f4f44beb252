"""What meters may do wrong, tried at random: registers (registers), a module each."""
