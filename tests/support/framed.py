"""What a framer of telegrams cuts out of a line's bytes, in the shared tests."""


def frames(framer, chunks):
    """Feed `chunks` to a new `framer`; return (the telegrams, how many bytes were in none)."""
    found = []
    for chunk in chunks:
        telegram = framer.feed(chunk)
        while telegram:
            found.append(telegram)
            telegram = framer.feed(b"")
    return found, framer.discarded


def cut(data, size):
    """Yield pieces of `size` bytes."""
    for at in range(0, len(data), size):
        yield data[at : at + size]
