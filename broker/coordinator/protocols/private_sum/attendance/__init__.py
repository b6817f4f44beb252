"""Who took part in rounds, and who did not and why, for people: nothing of it decides anything."""
