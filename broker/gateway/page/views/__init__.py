"""The views, a module each: what is asked for, and what is shown."""
