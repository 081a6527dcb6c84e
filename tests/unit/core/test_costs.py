"""What operations cost does not grow with the chain: counted in entries of the catalog, not timed.

docs/architecture.md says what each may cost. Two stores differ in the length of their chain alone;
the same operation must touch as many entries in both, and do as much with files.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from ebsim.config import SnapshotOptions
from ebsim.core.context import StoreContext
from ebsim.core.recovery import recover
from ebsim.engine import Store
from ebsim.errors import SnapshotFailedError, SourceError
from ebsim.format.catalog_values import Table
from ebsim.ids import SnapshotId
from ebsim.results import SnapshotState
from ebsim.testing.counted_catalog import CountedCatalog
from ebsim.testing.memory_store import MemoryStore, leave_as_if_killed
from ebsim.testing.observed_files import ObservedFiles
from ebsim.testing.sources import ObservedSource
from ebsim.testing.synthetic import SyntheticSource
from ebsim.units import BLOCK_SIZE

SHORT, LONG = 10, 200
LEAVES = 4
LEAF_BLOCKS = 256


Action = Callable[["Chain", Store], object]


class Killed(BaseException):
    """Stands for SIGKILL: nothing that catches errors catches it."""


@dataclass
class Chain:
    """A store with a chain of nightly snapshots, each made with the store opened for it."""

    disk: MemoryStore
    snapshots: list[str] = field(default_factory=list)
    origin: str = ""
    branches: list[str] = field(default_factory=list)
    stamps: "np.ndarray[tuple[int], np.dtype[np.uint64]]" = field(
        default_factory=lambda: np.zeros(LEAVES * LEAF_BLOCKS, dtype=np.uint64)
    )
    nights: int = 0

    def source(self) -> SyntheticSource:
        """Return the volume in which one block of each leaf changed, to what was never there."""
        self.nights += 1
        self.stamps[::LEAF_BLOCKS] = np.arange(LEAVES) + self.nights * LEAVES
        return SyntheticSource("memory:web1", len(self.stamps) * BLOCK_SIZE, self.stamps)

    def night(self) -> None:
        with self.disk.open() as store:
            self.snapshots.append(store.create_snapshot(self.source()).snapshot_id)

    def touched(self, action: "Action") -> "Counter[Table | str]":
        """Return what an action touches in a store that is opened for it and closed behind it.

        That is entries, by table, and what is done with files, by operation.
        """
        operations: list[str] = []
        files = ObservedFiles(self.disk.files, lambda operation, _: operations.append(operation))
        context = self.disk.context(files)
        context.catalog = counted = CountedCatalog(context.catalog)
        recover(context)
        with Store(context) as store:
            action(self, store)
        assert "list" not in operations
        return Counter[Table | str](counted.touched) + Counter[Table | str](operations)


@pytest.fixture(scope="module")
def chains(fast_module_path: Path) -> Iterator[tuple[Chain, Chain]]:
    made = []
    for length in (SHORT, LONG):
        folder = fast_module_path / str(length)
        folder.mkdir()
        made.append(Chain(MemoryStore(folder)))
        for _ in range(length):
            made[-1].night()
        made[-1].origin = made[-1].snapshots[1]
        with made[-1].disk.open() as store:
            for _ in range(length):
                branch(made[-1], store)
    yield made[0], made[1]
    for chain in made:
        with chain.disk.open() as store:
            assert store.check(data=True).findings == ()


def open_and_close(_chain: Chain, _store: Store) -> None:
    pass


def create(chain: Chain, store: Store) -> None:
    chain.snapshots.append(store.create_snapshot(chain.source()).snapshot_id)


def create_of_another_volume(chain: Chain, store: Store) -> None:
    stamps = np.full(1, 7, dtype=np.uint64)
    name = f"memory:other-{chain.nights}"
    store.create_snapshot(SyntheticSource(name, BLOCK_SIZE, stamps))


def branch(chain: Chain, store: Store) -> None:
    """Another volume that begins with a snapshot that has as many branches as the chain is long."""
    stamps = np.full(len(chain.stamps), 7, dtype=np.uint64)
    stamps[1:] = 0
    source = SyntheticSource(f"memory:branch-{chain.nights}", len(stamps) * BLOCK_SIZE, stamps)
    chain.branches.append(
        store.create_snapshot(source, SnapshotOptions(parent=SnapshotId(chain.origin))).snapshot_id
    )
    chain.nights += 1


def delete_a_branch(chain: Chain, store: Store) -> None:
    store.delete_snapshots([chain.branches.pop(len(chain.branches) // 2)])


def fail_to_create(chain: Chain, store: Store) -> None:
    def fail(_offset: int, _length: int) -> None:
        raise SourceError("it broke")

    with pytest.raises(SnapshotFailedError):
        store.create_snapshot(ObservedSource(chain.source(), fail))


def delete_in_the_middle(chain: Chain, store: Store) -> None:
    store.delete_snapshots([chain.snapshots.pop(len(chain.snapshots) // 2)])


def delete_the_first(chain: Chain, store: Store) -> None:
    store.delete_snapshots([chain.snapshots.pop(0)])


def delete_the_last(chain: Chain, store: Store) -> None:
    store.delete_snapshots([chain.snapshots.pop()])


def plan_a_deletion(chain: Chain, store: Store) -> None:
    store.delete_snapshots([chain.snapshots[len(chain.snapshots) // 2]], dry_run=True)


def diff_of_neighbours(chain: Chain, store: Store) -> None:
    middle = len(chain.snapshots) // 2
    store.diff_snapshots(chain.snapshots[middle], chain.snapshots[middle + 1])


def diff_of_first_and_last(chain: Chain, store: Store) -> None:
    store.diff_snapshots(chain.snapshots[0], chain.snapshots[-1])


def read_of_the_first(chain: Chain, store: Store) -> None:
    store.read_block(chain.snapshots[0], LEAF_BLOCKS)


def read_of_the_last(chain: Chain, store: Store) -> None:
    store.read_block(chain.snapshots[-1], LEAF_BLOCKS)


def show(chain: Chain, store: Store) -> None:
    store.get_snapshot(chain.snapshots[-1])
    store.snapshot_history(chain.snapshots[-1])


@pytest.mark.parametrize(
    "action",
    [
        open_and_close,
        create,
        create_of_another_volume,
        branch,
        delete_a_branch,
        fail_to_create,
        delete_in_the_middle,
        delete_the_first,
        delete_the_last,
        plan_a_deletion,
        diff_of_neighbours,
        diff_of_first_and_last,
        read_of_the_first,
        read_of_the_last,
        show,
    ],
)
def test_operation_touches_as_many_entries_whatever_the_chain(
    chains: tuple[Chain, Chain], action: Action
) -> None:
    short, long = (chain.touched(action) for chain in chains)

    assert long == short


def kill_while_creating(chain: Chain) -> StoreContext:
    context = chain.disk.context()

    def die(offset: int, _length: int) -> None:
        if offset:
            context.poison = "killed"
            raise Killed

    with pytest.raises(Killed):
        Store(context).create_snapshot(ObservedSource(chain.source(), die))
    return context


def kill_after_creating(chain: Chain) -> StoreContext:
    context = chain.disk.context()
    chain.snapshots.append(Store(context).create_snapshot(chain.source()).snapshot_id)
    return context


def kill_after_deleting(chain: Chain) -> StoreContext:
    """The commit is done, and nothing is given back yet."""
    context = chain.disk.context()

    def die(view: object) -> None:
        if view.count(Table.FREED):  # type: ignore[attr-defined]
            raise Killed

    chain.disk.catalog.before_update = die
    with pytest.raises(Killed):
        Store(context).delete_snapshots([chain.snapshots.pop(len(chain.snapshots) // 2)])
    chain.disk.catalog.before_update = lambda _view: None
    return context


@pytest.mark.parametrize("kill", [kill_while_creating, kill_after_creating, kill_after_deleting])
def test_cleaning_up_after_a_killed_process_touches_as_many_entries_whatever_the_chain(
    chains: tuple[Chain, Chain], kill: Callable[[Chain], StoreContext]
) -> None:
    found = []
    for chain in chains:
        leave_as_if_killed(kill(chain))
        found.append(chain.touched(open_and_close))
        with chain.disk.open() as store:
            listed = store.list_snapshots()
        assert [shown for shown in listed if shown.state is SnapshotState.PENDING] == []

    short, long = found
    assert long == short


def test_what_is_walked_over_is_counted(chains: tuple[Chain, Chain]) -> None:
    """The list prints every snapshot, so it must grow; else the tests above would prove nothing."""
    _, long = chains

    touched = long.touched(lambda _chain, store: store.list_snapshots())

    assert touched[Table.SNAPSHOTS] > len(long.snapshots)
