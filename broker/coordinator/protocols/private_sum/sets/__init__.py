"""The active sets of a group: which members have keys with each other, and when that changes."""
