"""The demo: a fleet of real boards, shown to a person."""
