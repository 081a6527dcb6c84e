"""Following the events of a store, by asking again and again."""

from collections.abc import Callable, Iterator, Sequence

from ebsim.results import Event

PAUSE_S = 0.5
"""Between two looks: soon enough for people, and next to nothing for the machine."""


def follow(
    read: Callable[[int], Sequence[Event]], after: int, pause: Callable[[float], object]
) -> Iterator[Event]:
    """Yield events as they come, for ever.

    Args:
        read: Returns the events after a number, oldest first.
        after: Begin behind this number.
        pause: Called with `PAUSE_S` after each look; what it raises ends the following.
    """
    while True:
        for event in read(after):
            yield event
            after = event.number
        pause(PAUSE_S)
