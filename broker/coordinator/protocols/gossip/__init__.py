"""The coordinator's side of anonymous queries."""
