"""Pictures of the example's states, drawn as the EBS documentation draws them.

Each snapshot is a box that tells what it holds itself and what it refers to in others.
"""

from collections.abc import Sequence
from itertools import zip_longest

from ebsim.demo.report import ExampleState, Holding, Move
from ebsim.units import BLOCK_SIZE, format_size

BOX_WIDTH = 24
"""Characters between a box's sides: three boxes and a margin fit into 80 columns."""

LEGEND = """\
The example of the EBS documentation, at its full size in blocks of 512 KiB

  Each letter is 1 GiB of the volume and names the snapshot that holds it.
  A dot is 1 GiB that was never written."""


def draw_state(number: int, state: ExampleState) -> str:
    """Return the picture of one state, and its figures."""
    total = f"{_size(state.charged_blocks)} charged in all ({state.charged_blocks:,} blocks)"
    return "\n".join(
        [
            f"State {number}: {state.title}.",
            *_beside([_box(holding) for holding in state.holdings]),
            *(f"  {_move(move)}" for move in state.moves),
            *([f"  {_freed(state.freed_blocks)}"] if state.freed_blocks else []),
            f"  {total}; {format_size(state.stored_size_bytes)} stored.",
        ]
    )


def _box(holding: Holding) -> list[str]:
    title = f"─ Snapshot {holding.name} "
    lines = [
        holding.cells,
        f"holds {_size(holding.charged_blocks)} itself",
        f"  {holding.charged_blocks:,} blocks",
        *(f"refers to {_size(part.blocks)} in {part.name}" for part in holding.refers_to),
        f"restores to {_size(holding.full_blocks)}",
    ]
    return [
        f"┌{title.ljust(BOX_WIDTH, '─')}┐",
        *(f"│ {line.ljust(BOX_WIDTH - 2)} │" for line in lines),
        f"└{'─' * BOX_WIDTH}┘",
    ]


def _beside(boxes: Sequence[Sequence[str]]) -> list[str]:
    """Put boxes side by side, their tops on one line."""
    empty = " " * (BOX_WIDTH + 2)
    rows = zip_longest(*boxes, fillvalue=empty)
    return ["".join(row).rstrip() for row in rows]


def _move(move: Move) -> str:
    return (
        f"{_size(move.blocks)} ({move.blocks:,} blocks) moved from {move.from_name}"
        f" to {move.to_name}, which refers to them."
    )


def _freed(blocks: int) -> str:
    return f"{_size(blocks)} ({blocks:,} blocks) that nothing refers to were freed."


def _size(blocks: int) -> str:
    return format_size(blocks * BLOCK_SIZE)
