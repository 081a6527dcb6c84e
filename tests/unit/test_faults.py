"""Faults that are told to something which does not exist must not go unnoticed."""

import pytest

from ebsim.errors import InvalidInputError
from ebsim.testing.faults import Faults


@pytest.mark.parametrize("name", ["", "vol-0123456789abcdef0", "snap-1", "snapshot"])
def test_what_is_no_snapshot_cannot_be_told_to_fail(name: str) -> None:
    with pytest.raises(InvalidInputError):
        Faults().fail(name)


def test_snapshot_may_be_told_to_fail_before_its_turn() -> None:
    Faults().fail("snap-0123456789abcdef0")
