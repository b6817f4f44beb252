"""`python -m broker` is the `hum` command."""

from broker.cli import main

main()
