"""What the demo found, in figures. Every one comes from the engine's own answers."""

from dataclasses import dataclass

from ebsim.demo.image import Changes, FileTree
from ebsim.ids import SnapshotId
from ebsim.reports import CheckReport, StoreStats
from ebsim.results import ChangedBlocks, DeletedSnapshot, RestoreReport, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReport:
    """The main job on a real image.

    Attributes:
        image_size_bytes: The size of the image.
        tree: The files it was built from.
        changes: What was changed between the snapshots.
        first: The first snapshot, as it was created.
        second: The second snapshot, as it was created.
        changed: Where they differ.
        deletion: What deleting the first one did.
        survivor: The second snapshot after that.
        restoration: What restoring it did.
        compared_bytes: So many bytes of image and restored image were compared, and are equal.
        checked: The check of the store, with every stored byte.
        stats: The sizes of the store at the end.
    """

    image_size_bytes: int
    tree: FileTree
    changes: Changes
    first: Snapshot
    second: Snapshot
    changed: ChangedBlocks
    deletion: DeletedSnapshot
    survivor: Snapshot
    restoration: RestoreReport
    compared_bytes: int
    checked: CheckReport
    stats: StoreStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Blocks of a snapshot that another one holds and is charged for."""

    name: str
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One snapshot of the example, in one state.

    Attributes:
        name: A, B or C.
        snapshot_id: Its id in the store.
        charged_blocks: What it holds itself.
        refers_to: What it refers to in others, oldest first.
        full_blocks: What it restores to.
        cells: One character for each GiB of the volume: the name of the snapshot that holds the
            blocks there, or a dot where nothing was ever written.
    """

    name: str
    snapshot_id: SnapshotId
    charged_blocks: int
    refers_to: tuple[Reference, ...]
    full_blocks: int
    cells: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Blocks that a deletion moved from one snapshot to another."""

    from_name: str
    to_name: str
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleState:
    """One state of the example, after its snapshot or its deletion.

    Attributes:
        title: What happened.
        holdings: The snapshots there are, oldest first.
        charged_blocks: What they are charged together.
        stored_size_bytes: What the store occupies on disk.
        moves: What the deletion moved.
        freed_blocks: What the deletion freed.
    """

    title: str
    holdings: tuple[Holding, ...]
    charged_blocks: int
    stored_size_bytes: int
    moves: tuple[Move, ...] = ()
    freed_blocks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """Everything that the demo found."""

    image: ImageReport
    example: tuple[ExampleState, ...]
