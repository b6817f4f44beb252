"""The protocols, a package each, under the names that agent/protocols has; registry says which is
which."""
