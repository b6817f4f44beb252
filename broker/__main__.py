"""`python -m broker` is the `hum` command."""

from broker.cli.main import main

main()
