"""The one exception whose message is meant for the person at the keyboard."""


class InputError(ValueError):
    """Input that cannot be used: the message names the file, what is wrong with it and what to do.

    The command line prints the message alone and exits with code 2; nothing has been written or lost.
    """


class MemoryTooSmall(InputError):
    """A device's memory is too small for what is to be computed."""
