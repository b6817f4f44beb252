"""What every protocol does alike: the machine, a board's identity and policy, the roster, the
overlay's arithmetic."""
