"""A deployment of many groups on this machine, as `hum up` runs it, with boards and visitors."""
