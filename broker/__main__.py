"""`python -m broker` is the `hum` command."""

from broker.start import hum

hum()
