"""The authority, offline: members, rosters, policies, releases."""
