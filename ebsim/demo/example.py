"""The worked example of the EBS documentation, through the real engine at its full block counts.

A volume of 15 GiB holds 10 GiB of data: snapshot A. 4 GiB of it change: snapshot B. 2 GiB are
added: snapshot C. Then A is deleted. Every figure is taken from the engine's answers and compared
with the documented one (semantics sections 2.2, E1 and E2, and 2.3).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ebsim.demo.checks import require_equal
from ebsim.demo.report import ExampleState, Holding, Move, Reference
from ebsim.engine import Store
from ebsim.progress import Progress
from ebsim.testing.synthetic import HOLE, SyntheticSource, block_content
from ebsim.units import BLOCK_SIZE, BLOCKS_PER_GIB, GIB

if TYPE_CHECKING:
    from ebsim.ids import SnapshotId

VOLUME_GIB = 15

Figures = dict[str, tuple[int, dict[str, int]]]
"""For each snapshot, in GiB: what it holds itself, and what it refers to in others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One write to the volume and the snapshot after it, as documented.

    Attributes:
        name: The snapshot's name.
        title: What happens.
        start_gib: Where the write starts.
        end_gib: Where it ends.
        documented: What each snapshot then holds and refers to.
    """

    name: str
    title: str
    start_gib: int
    end_gib: int
    documented: Figures


STEPS = (
    Step(
        name="A",
        title="10 GiB are written to the volume, then snapshot A",
        start_gib=0,
        end_gib=10,
        documented={"A": (10, {})},
    ),
    Step(
        name="B",
        title="4 GiB of them change, then snapshot B",
        start_gib=0,
        end_gib=4,
        documented={"A": (10, {}), "B": (4, {"A": 6})},
    ),
    Step(
        name="C",
        title="2 GiB are added, then snapshot C",
        start_gib=10,
        end_gib=12,
        documented={"A": (10, {}), "B": (4, {"A": 6}), "C": (2, {"A": 6, "B": 4})},
    ),
)

DELETED = "A"
DOCUMENTED_MOVE = Move(from_name="A", to_name="B", blocks=6 * BLOCKS_PER_GIB)
DOCUMENTED_FREED_GIB = 4
DOCUMENTED_AFTER_DELETION: Figures = {"B": (10, {}), "C": (2, {"B": 10})}


def run_example(folder: Path, progress: Progress) -> Iterator[ExampleState]:
    """Yield the states of the example as the engine gets there.

    Args:
        folder: A folder that is missing or empty; the example's store is made in it.
        progress: Is told of the reading.

    Raises:
        InternalError: A figure is not the documented one (DEMO_FAILED).
    """
    example = _Example(progress)
    with Store.open(folder, create=True) as store:
        for step in STEPS:
            yield example.take(store, step)
        yield example.delete(store, DELETED)


class _Example:
    """The volume, and the snapshots that were taken of it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stamps = np.full(VOLUME_GIB * BLOCKS_PER_GIB, HOLE, dtype=np.uint64)
        self._source = SyntheticSource("memory:example", VOLUME_GIB * GIB, self._stamps)
        self._next_stamp = HOLE + 1
        self._ids: dict[str, SnapshotId] = {}
        self._contents: dict[str, list[int]] = {}

    def take(self, store: Store, step: Step) -> ExampleState:
        """Write to the volume, take the snapshot, and compare."""
        self._write(step.start_gib, step.end_gib)
        snapshot = store.create_snapshot(self._source, progress=self._progress)
        self._ids[step.name] = snapshot.snapshot_id
        self._contents[step.name] = self._stamps[::BLOCKS_PER_GIB].tolist()
        added = (step.end_gib - step.start_gib) * GIB
        require_equal(f"what {step.name} added", snapshot.incremental_size_bytes, added)
        return self._state(store, step.title, step.documented)

    def delete(self, store: Store, name: str) -> ExampleState:
        """Delete a snapshot after a dry run, and compare what moved and what was freed."""
        snapshot_id = self._ids.pop(name)
        planned = store.delete_snapshots([snapshot_id], dry_run=True).deleted
        (deleted,) = store.delete_snapshots([snapshot_id]).deleted
        require_equal("the deletion", (deleted,), planned)
        names = {snapshot_id: name for name, snapshot_id in self._ids.items()}
        moves = tuple(
            Move(
                from_name=name,
                to_name=names[moved.snapshot_id],
                blocks=moved.size_bytes // BLOCK_SIZE,
            )
            for moved in deleted.moved_to
        )
        freed = deleted.freed_size_bytes // BLOCK_SIZE
        require_equal("what moved", moves, (DOCUMENTED_MOVE,))
        require_equal("the blocks freed", freed, DOCUMENTED_FREED_GIB * BLOCKS_PER_GIB)
        title = f"Snapshot {name} is deleted"
        documented = DOCUMENTED_AFTER_DELETION
        return self._state(store, title, documented, moves=moves, freed_blocks=freed)

    def _write(self, start_gib: int, end_gib: int) -> None:
        """Give each block of a range a content that no block ever had."""
        start, end = start_gib * BLOCKS_PER_GIB, end_gib * BLOCKS_PER_GIB
        count = end - start
        self._stamps[start:end] = np.arange(self._next_stamp, self._next_stamp + count)
        self._next_stamp += count

    def _state(
        self,
        store: Store,
        title: str,
        documented: Figures,
        *,
        moves: tuple[Move, ...] = (),
        freed_blocks: int = 0,
    ) -> ExampleState:
        """Ask the engine for every figure, and compare with the documented ones."""
        holdings = self._holdings(store)
        stats = store.stats()
        state = ExampleState(
            title=title,
            holdings=holdings,
            charged_blocks=stats.charged_size_bytes // BLOCK_SIZE,
            stored_size_bytes=stats.stored_size_bytes,
            moves=moves,
            freed_blocks=freed_blocks,
        )
        require_equal(f"the figures after '{title}'", _figures(holdings), documented)
        total = sum(holds for holds, _ in documented.values()) * BLOCKS_PER_GIB
        require_equal("the charge of all snapshots", state.charged_blocks, total)
        return state

    def _holdings(self, store: Store) -> tuple[Holding, ...]:
        """Work out from the engine's differences which snapshot holds which block."""
        names = list(self._ids)
        holders = np.zeros(len(self._stamps), dtype=np.int64)  # as places in `names`
        holdings: list[Holding] = []
        for place, name in enumerate(names):
            if place > 0:
                before = self._ids[names[place - 1]]
                for start, end in store.diff_snapshots(before, self._ids[name]).ranges:
                    holders[start:end] = place
            holdings.append(self._holding(store, names[: place + 1], holders.tolist()))
        return tuple(holdings)

    def _holding(self, store: Store, names: Sequence[str], holders: Sequence[int]) -> Holding:
        """Describe the newest of `names`, given who holds each block of it."""
        name = names[-1]
        snapshot = store.get_snapshot(self._ids[name])
        full = snapshot.full_size_bytes // BLOCK_SIZE
        charged = snapshot.charged_size_bytes // BLOCK_SIZE
        in_later = {other: holders.count(place) for place, other in enumerate(names) if place > 0}
        in_all = {names[0]: full - sum(in_later.values()), **in_later}
        require_equal(f"the charge of {name}", charged, in_all.pop(name))
        return Holding(
            name=name,
            snapshot_id=snapshot.snapshot_id,
            charged_blocks=charged,
            refers_to=tuple(Reference(name=other, blocks=count) for other, count in in_all.items()),
            full_blocks=full,
            cells=self._cells(store, name, [names[place] for place in holders[::BLOCKS_PER_GIB]]),
        )

    def _cells(self, store: Store, name: str, holders: Sequence[str]) -> str:
        """Read the first block of each GiB, compare it, and say who holds it."""
        cells = ""
        for gib, stamp in enumerate(self._contents[name]):
            content = store.read_block(self._ids[name], gib * BLOCKS_PER_GIB)
            where = f"the content of {name} at {gib} GiB"
            require_equal(where, _short(content), _short(block_content(stamp)))
            cells += "." if stamp == HOLE else holders[gib]
        return cells


def _short(content: bytes) -> str:
    """Return a block's content in a form that fits into a message, where it is a stamp repeated."""
    stamp, repeats = content[:8], len(content) // 8
    return stamp.hex() if content == stamp * repeats else "something else"


def _figures(holdings: Sequence[Holding]) -> Figures:
    """Return what each snapshot holds and refers to, in GiB; block counts where that is broken."""
    return {
        holding.name: (
            _gib(holding.charged_blocks),
            {reference.name: _gib(reference.blocks) for reference in holding.refers_to},
        )
        for holding in holdings
    }


def _gib(blocks: int) -> int:
    gib, rest = divmod(blocks, BLOCKS_PER_GIB)
    require_equal(f"the part of {blocks} blocks beyond whole GiB", rest, 0)
    return gib
