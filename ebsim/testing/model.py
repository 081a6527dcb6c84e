"""The specification of snapshots, charges and deletion, as the simplest program that has them.

`ReferenceModel` answers what a store must answer, by brute force: dictionaries, loops over every
block of every snapshot, no sharing, no caching, no files. Read it as the definition; the property
tests run it beside the engine and compare at every step.

Words
    A *volume* is what is snapshotted: a size and the content of each block. Its name is the
    identity of the source that is scanned (a real path, or a name such as `memory:web1`).
    A *block version* is what one write put at one block index of one lineage. It has a number that
    is never used again and a content that never changes.
    A *snapshot* is a dictionary from block index to version number, and nothing else. An index
    that is not in it is *unwritten* and reads as zeros.
    A snapshot is *live* until it is deleted. *Older* means that it was completed earlier.

Content
    The content of a block is given by its bytes without the zeros at the end. So `b""` is a block
    of zeros, a last partial block equals itself padded with zeros, and tables worked out by hand
    can say `b"a"`.

What a snapshot writes (a scanned source has no memory of what was written to it)
    For each block index i of the volume, c the content now, v the parent's version at i:

    - the parent has v, and v's content is c: v is kept; nothing was written;
    - the parent has v, and v's content is not c: a new version, also where c is all zeros, and
      also where some older version had that very content;
    - the parent has nothing at i, and c is all zeros: i stays unwritten;
    - the parent has nothing at i, and c is anything else: a new version.

The parent
    The youngest live snapshot of the same volume. For the first snapshot of a volume that was made
    from a snapshot (a *branch*): that snapshot. Where there is neither, there is no parent, and the
    snapshot is full.

Three sizes of a snapshot, in blocks
    *full*: the indices it holds. *incremental*: the versions it made, fixed when it was made.
    *charged*: the versions for which it is the oldest live snapshot that has them. So each live
    version is charged exactly once, and the charges of all snapshots add up to the number of
    distinct live versions. Equal contents are different versions: deduplication and compression
    change what is stored, never what is charged.

Deleting S
    Each version charged to S that another live snapshot has *moves* to the oldest such snapshot;
    one that no other has is *freed*. Nothing else changes. A set is deleted one by one in the order
    given, so a charge may move to a member of the set and on from there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ebsim.units import BLOCK_SIZE, block_count


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDeletion:
    """What deleting one snapshot did.

    Attributes:
        snapshot_id: The snapshot deleted.
        freed_blocks: Versions that nobody is charged for any more.
        moved_to: To whom its other versions moved and how many, oldest snapshot first.
    """

    snapshot_id: str
    freed_blocks: int
    moved_to: tuple[tuple[str, int], ...]

    @property
    def moved_blocks(self) -> int:
        """How many versions moved in all."""
        return sum(blocks for _, blocks in self.moved_to)


@dataclass(slots=True, kw_only=True)
class ModelVolume:
    """A volume: its size, what each block holds now, and where its lineage began.

    Attributes:
        size_bytes: The exact size, 1 byte or more; the last block may be partial.
        contents: Block index to content; an index that is missing holds zeros.
        origin_id: The snapshot it was made from; None otherwise, and once a snapshot was taken.
    """

    size_bytes: int
    contents: dict[int, bytes] = field(default_factory=dict)
    origin_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSnapshot:
    """A live snapshot: which version it holds at each written block index.

    Attributes:
        volume: The volume's name.
        size_bytes: The volume's exact size when the snapshot was made.
        versions: Block index to version number; unwritten indices are missing.
        parent_id: The snapshot it was made incremental on; kept when that one is deleted.
        root_id: The full snapshot at the beginning of its chain of parents; maybe itself.
        incremental_blocks: How many versions it made.
    """

    volume: str
    size_bytes: int
    versions: dict[int, int]
    parent_id: str | None
    root_id: str
    incremental_blocks: int


def without_zeros_at_end(content: bytes) -> bytes:
    """Return the form in which the model keeps and compares contents."""
    return content.rstrip(b"\0")


def as_ranges(indices: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return ascending block indices as half-open ranges that do not touch each other."""
    ranges: list[tuple[int, int]] = []
    for index in indices:
        if ranges and ranges[-1][1] == index:
            ranges[-1] = (ranges[-1][0], index + 1)
        else:
            ranges.append((index, index + 1))
    return tuple(ranges)


class ReferenceModel:
    """Volumes and their snapshots, by brute force.

    Every snapshot id is given by the caller, so that the ids of a real store can be used. An id or
    a name that is not known raises KeyError: the model is never asked what errors look like.
    """

    def __init__(self) -> None:
        self.volumes: dict[str, ModelVolume] = {}
        self.snapshots: dict[str, ModelSnapshot] = {}  # the live ones, oldest first
        self._content_of: dict[int, bytes] = {}  # version number -> content
        self._next_version = 1

    # Volumes

    def add_volume(self, name: str, size_bytes: int, origin_id: str | None = None) -> None:
        """Add a volume, replacing one of that name.

        It begins as zeros, or, made from a snapshot, with what that snapshot holds.

        Args:
            name: The identity of its source.
            size_bytes: 1 or more; with `origin_id`, at least that snapshot's size.
            origin_id: The live snapshot it is made from.
        """
        if origin_id is None:
            self.volumes[name] = ModelVolume(size_bytes=size_bytes)
            return
        origin = self.snapshots[origin_id]
        assert size_bytes >= origin.size_bytes, "a volume is at least as large as its origin"
        self.volumes[name] = ModelVolume(
            size_bytes=size_bytes,
            contents={index: self.content(origin_id, index) for index in origin.versions},
            origin_id=origin_id,
        )

    def write(self, name: str, index: int, content: bytes) -> None:
        """Put `content`, padded with zeros, at a block index of a volume."""
        volume = self.volumes[name]
        assert 0 <= index < block_count(volume.size_bytes), "a write lies within the volume"
        assert len(content) <= BLOCK_SIZE, "a write is one block at most"
        volume.contents[index] = without_zeros_at_end(content)

    def grow(self, name: str, size_bytes: int) -> None:
        """Make a volume larger; the new range holds zeros."""
        assert size_bytes >= self.volumes[name].size_bytes, "a volume never shrinks"
        self.volumes[name].size_bytes = size_bytes

    # Snapshots

    def snapshot(self, name: str, snapshot_id: str) -> ModelSnapshot:
        """Take a snapshot of a volume as it is now; it is live and the youngest of all."""
        volume = self.volumes[name]
        parent_id = self.parent_of_next(name)
        parent = None if parent_id is None else self.snapshots[parent_id]
        old = {} if parent is None else parent.versions
        versions: dict[int, int] = {}
        made = 0
        for index in range(block_count(volume.size_bytes)):
            content = volume.contents.get(index, b"")
            if index in old and self._content_of[old[index]] == content:
                versions[index] = old[index]
            elif index in old or content != b"":
                versions[index] = self._new_version(content)
                made += 1
        snapshot = ModelSnapshot(
            volume=name,
            size_bytes=volume.size_bytes,
            versions=versions,
            parent_id=parent_id,
            root_id=snapshot_id if parent is None else parent.root_id,
            incremental_blocks=made,
        )
        self.snapshots[snapshot_id] = snapshot
        volume.origin_id = None
        return snapshot

    def parent_of_next(self, name: str) -> str | None:
        """Return what the next snapshot of a volume would be incremental on; None: it is full."""
        own = [key for key, snapshot in self.snapshots.items() if snapshot.volume == name]
        return own[-1] if own else self.volumes[name].origin_id

    def delete(self, snapshot_ids: Iterable[str]) -> list[ModelDeletion]:
        """Delete live snapshots one by one in the order given; say what each deletion did."""
        return [self._delete_one(snapshot_id) for snapshot_id in snapshot_ids]

    # Questions

    def full_blocks(self, snapshot_id: str) -> int:
        """Return how many block indices a live snapshot holds."""
        return len(self.snapshots[snapshot_id].versions)

    def incremental_blocks(self, snapshot_id: str) -> int:
        """Return how many versions a live snapshot made when it was taken."""
        return self.snapshots[snapshot_id].incremental_blocks

    def charged_blocks(self, snapshot_id: str) -> int:
        """Return how many versions have this one as the oldest live snapshot that holds them."""
        charged = 0
        for version in self.snapshots[snapshot_id].versions.values():
            if self._oldest_with(version) == snapshot_id:
                charged += 1
        return charged

    def live_versions(self) -> set[int]:
        """Return every version that some live snapshot holds: what is charged in total."""
        return {
            version
            for snapshot in self.snapshots.values()
            for version in snapshot.versions.values()
        }

    def stored_contents(self) -> set[bytes]:
        """Return every content that must be stored: each once, and zeros never."""
        return {self._content_of[version] for version in self.live_versions()} - {b""}

    def content(self, snapshot_id: str, index: int) -> bytes:
        """Return what a live snapshot holds at a block index, without the zeros at the end."""
        version = self.snapshots[snapshot_id].versions.get(index)
        return b"" if version is None else self._content_of[version]

    def image(self, snapshot_id: str) -> bytes:
        """Return a live snapshot as one image of its exact size. Only for small volumes."""
        size_bytes = self.snapshots[snapshot_id].size_bytes
        blocks = (
            self.content(snapshot_id, index).ljust(BLOCK_SIZE, b"\0")
            for index in range(block_count(size_bytes))
        )
        return b"".join(blocks)[:size_bytes]

    def changed_blocks(self, first_id: str, second_id: str) -> list[int]:
        """Return the block indices in which two live snapshots of one lineage differ, ascending.

        They differ where both hold a version and the contents are different, and where only one
        holds a version (also where that is a version of zeros).
        """
        first = self.snapshots[first_id].versions
        second = self.snapshots[second_id].versions
        return [
            index
            for index in sorted(first.keys() | second.keys())
            if (index in first) != (index in second)
            or self.content(first_id, index) != self.content(second_id, index)
        ]

    def related(self, first_id: str, second_id: str) -> bool:
        """Whether two live snapshots are of one lineage: their chains of parents meet."""
        return self.snapshots[first_id].root_id == self.snapshots[second_id].root_id

    # Inside

    def _new_version(self, content: bytes) -> int:
        version = self._next_version
        self._next_version += 1
        self._content_of[version] = content
        return version

    def _holders(self, version: int) -> Iterator[str]:
        for snapshot_id, snapshot in self.snapshots.items():
            if version in snapshot.versions.values():
                yield snapshot_id

    def _oldest_with(self, version: int) -> str | None:
        return next(self._holders(version), None)

    def _delete_one(self, snapshot_id: str) -> ModelDeletion:
        charged = [
            version
            for version in self.snapshots[snapshot_id].versions.values()
            if self._oldest_with(version) == snapshot_id
        ]
        del self.snapshots[snapshot_id]
        heirs = [self._oldest_with(version) for version in charged]
        moved = {live: heirs.count(live) for live in self.snapshots if live in heirs}
        return ModelDeletion(
            snapshot_id=snapshot_id,
            freed_blocks=heirs.count(None),
            moved_to=tuple(moved.items()),
        )
