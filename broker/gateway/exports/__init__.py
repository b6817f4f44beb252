"""A series as other programs take it: a module a form, no I/O."""
