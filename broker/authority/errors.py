"""The authority's error."""

from broker.errors import HumError


class AuthorityError(HumError):
    """What was asked cannot be done. args[0] says why and what to do."""
