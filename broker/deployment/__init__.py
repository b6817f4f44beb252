"""A deployment's folder: hum.toml, authority, coordinator, broker's files and certificates, made by
`hum init`."""
