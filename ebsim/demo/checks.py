"""The one way in which the demo doubts the engine."""

from ebsim.errors import ErrorCode, InternalError


def require_equal(what: str, found: object, expected: object) -> None:
    """Compare a figure of the engine with the one it must be.

    Raises:
        InternalError: They differ (DEMO_FAILED).
    """
    if found != expected:
        raise InternalError(
            f"The demo failed: {what} is {found}, and should be {expected}", ErrorCode.DEMO_FAILED
        )
