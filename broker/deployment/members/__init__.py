"""Who belongs to a deployment, changed in one step: authority, rosters, broker and coordinator."""
