"""How tests ask for the code with which something is refused."""

from collections.abc import Callable

from ebsim.errors import EbsimError, ErrorCode


def refused(call: Callable[[], object]) -> ErrorCode:
    """Return the code with which a call is refused.

    Raises:
        AssertionError: It is not.
    """
    try:
        call()
    except EbsimError as error:
        return error.code
    raise AssertionError("it was not refused")
