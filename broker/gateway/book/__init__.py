"""The gateway's own database: rounds, standings, events, tokens, the audit log."""
