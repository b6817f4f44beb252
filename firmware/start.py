"""The `hum-firmware` command from its first instant, as broker/start.py has it."""

from broker.start import begin, end_at_once


def hum_firmware() -> None:
    """Run the command line."""
    begin()
    from broker.cli.ending import heed_signals
    from firmware.cli import main

    heed_signals()
    try:
        main()
    finally:
        end_at_once()  # what is left is the interpreter's own end
