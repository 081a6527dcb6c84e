"""The limit, before the number: what each step must do with every block, whatever the design.

A block must be read and hashed to know whether it is the same, compressed to be small, written to
be kept; and all that again, the other way round.
"""

from collections.abc import Mapping, Sequence

from benchmarks.tools import Step

PARTS: Mapping[Step, Sequence[str]] = {
    Step.FIRST: ("read", "hash", "compress", "check", "write stored"),
    Step.RESCAN: ("read", "hash"),
    Step.RESTORE: ("read stored", "check", "decompress", "hash", "write"),
    Step.IN_PLACE: ("read", "hash"),
}


def find_limits(seconds: Mapping[str, float], blocks: int) -> dict[Step, float]:
    """Return the least seconds each step can take.

    Args:
        seconds: A block, for each part, as `benchmarks.limits` found.
        blocks: Blocks of the image that hold data.
    """
    return {step: blocks * sum(seconds[part] for part in parts) for step, parts in PARTS.items()}
