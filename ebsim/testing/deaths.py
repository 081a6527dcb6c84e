"""Something that is tried again and again, and dies each time at another of its steps."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from ebsim.testing.machine import Machine

Told_co = TypeVar("Told_co", covariant=True)


class Attempt(Protocol[Told_co]):
    """Something that is done on a machine of its own."""

    @property
    def machine(self) -> Machine:
        """The machine."""
        ...

    def act(self, die_at: int | None) -> bool:
        """Do it in a process, and return whether that died before the end; it is dead now."""
        ...

    def assert_survived(self) -> Told_co:
        """Look at what is left, and do it to the end."""
        ...


def die_at_each_step(
    attempt: Callable[[Path], Attempt[Told_co]],
    folder: Path,
    ending: str,
    strides: Sequence[int] = (1,),
    steps: tuple[int, int] = (60, 80),
) -> list[Told_co]:
    """Have something die at its steps, one after the other, and look at what is left.

    Args:
        attempt: Makes the machine on which it dies next, in an empty folder.
        folder: An empty folder.
        ending: What comes after the death: "killed", nothing; "power cut"; "killed again", while it
            is done once more.
        strides: How many steps there may be to the next: the first, or one by chance if chance is
            in what comes after it too.
        steps: How many it has at least; and before which one the second death is.

    Returns:
        What was told each time, the last time without a death.

    Raises:
        AssertionError: Something did not survive; a note says which step it was.
    """
    chance = random.Random(ending)  # noqa: S311 - it must be repeatable
    step = 1 - strides[0]
    told = []
    died = True
    while died:
        step += strides[0] if ending == "killed" else chance.choice(strides)
        (place := folder / str(step)).mkdir()
        run = attempt(place)
        died = run.act(step)
        if ending == "power cut":
            run.machine.cut_power(chance)
        elif ending == "killed again":
            run.act(chance.randrange(1, steps[1]))
        try:
            told.append(run.assert_survived())
        except BaseException as error:
            error.add_note(f"died at step {step}")
            raise
    assert step > steps[0]
    return told
