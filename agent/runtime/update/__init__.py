"""Updates over the air: versions, staging, installing."""
