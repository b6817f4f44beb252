"""What meters may do wrong, tried at random: registers (registers), telegrams (telegrams), a module each."""
