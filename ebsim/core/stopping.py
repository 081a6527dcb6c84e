"""Leaving what is being made to the next who opens the store."""


class StoppedError(BaseException):
    """The store is being closed: the snapshot stays pending. Not an `Exception`: no failure."""
