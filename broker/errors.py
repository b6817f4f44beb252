"""What the commands show in one line."""


class HumError(Exception):
    """Something that a person can put right. args[0] says in one line what is wrong, and what to
    do.

    The error of each part is a kind of this one, so that the command line shows those of parts that
    it does not know, too.
    """
