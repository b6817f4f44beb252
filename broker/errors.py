"""What the commands show in one line, and the exit status that they end with."""


class HumError(Exception):
    """Something that a person can put right. args[0] says in one line what is wrong, and what to
    do.

    The error of each part is a kind of this one, so that the command line shows those of parts that
    it does not know, too. `exit_code` is the command's exit status: 1 it failed, 2 it was called
    wrongly, 3 nobody answered, 4 something is unhealthy or may not be done.
    """

    exit_code = 1


class NoAnswer(HumError):
    """A broker, or a coordinator, is not reached, or does not answer in time."""

    exit_code = 3


class Denied(HumError):
    """A broker is reached, and does not let this user in, or do it."""

    exit_code = 4
