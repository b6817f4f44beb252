"""Assertions for the shared suite: it runs without pytest, on both interpreters."""


def raises(exception, function, *arguments):
    """Call and return the exception, which must be exactly of class `exception` or derived from
    it."""
    try:
        result = function(*arguments)
    except exception as error:
        return error
    raise AssertionError("%s not raised, got %r" % (exception.__name__, result))
