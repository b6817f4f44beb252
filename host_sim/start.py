"""The `hum-sim` command from its first instant, as broker/start.py has it."""

from broker.start import begin, end_at_once


def hum_sim() -> None:
    """Run the command line."""
    begin()
    from host_sim.cli import main

    try:
        main()
    finally:
        end_at_once()  # what is left is the interpreter's own end
