"""The errors that the command line shows. args[0] says in one line why, and what to do."""

from broker.errors import HumError


class FirmwareError(HumError):
    """What was asked cannot be done."""


class CompileError(HumError):
    """The application cannot be compiled: a tool is missing, or a source does what the build cannot
    keep."""
