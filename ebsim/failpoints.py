"""Failpoints: named places between the steps that matter, where a test has a process die.

    failpoints.reach("publish.synced")

does nothing: it calls an empty function, which takes some 40 nanoseconds, and stands only where a
sync, a transaction or the first write to a block is near. `arm` puts another function in its place,
for this process; a process started from it anew is not armed. The names are the areas of
docs/durability.md and a moment in them; `tests/fault/test_failpoints.py` finds them all in the
source and sees that each is reached.
"""

from collections.abc import Callable


def _go_on(_name: str) -> None:
    """Do nothing."""


reach: Callable[[str], object] = _go_on
"""Called with a failpoint's name, from any thread. Always through the module, as it is replaced."""


def arm(action: Callable[[str], object]) -> None:
    """Have `action` called at each failpoint; what it raises comes out of there."""
    global reach  # noqa: PLW0603 - so that nothing is asked where nothing is armed
    reach = action


def disarm() -> None:
    """Have failpoints do nothing again."""
    arm(_go_on)
