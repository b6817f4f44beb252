"""A street that lives for years: power cuts, flash faults, lost links."""
