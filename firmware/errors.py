"""The one error that the command line shows."""


class FirmwareError(Exception):
    """What was asked cannot be done. args[0] says in one line why and what to do."""
