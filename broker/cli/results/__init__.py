"""What `hum result` makes of results: rows for people and programs, and areas of whole groups."""
