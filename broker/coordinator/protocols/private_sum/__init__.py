"""The coordinator's side of the private sum."""
