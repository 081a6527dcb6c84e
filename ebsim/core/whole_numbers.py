"""Figures that a program hands over: EC2 takes integers, and nothing that merely looks like one."""

from ebsim import refusals


def ensure_whole(value: object, parameter: str) -> None:
    """Check a figure before anything is compared with it; None is for the caller to judge.

    Args:
        value: What was handed over.
        parameter: EC2's name for it.

    Raises:
        InvalidInputError: It is a float, a text, a bool, or anything else that is no int.
    """
    if value is not None and type(value) is not int:
        raise refusals.invalid_value(repr(value), parameter, "Expected a whole number")
