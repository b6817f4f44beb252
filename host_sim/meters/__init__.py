"""What meters may do wrong, tried at random: registers, telegrams; what they send (made)."""
