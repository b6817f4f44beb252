"""Members of the groups that a running coordinator serves: their changes, and their reports."""
