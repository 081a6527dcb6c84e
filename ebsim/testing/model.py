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

Managed volumes, whose writes ebsim sees
    A managed volume remembers which block indices something ever wrote to, zeros included (a
    discard of such a block is a write of zeros, and of any other it is nothing); of a volume made
    from a snapshot those that the snapshot holds count from the beginning. Its snapshot has for
    each of these indices

    - the parent's version, where the parent has one with the very content;
    - a new version otherwise, also of zeros;

    and nothing for any other index. So what was written since the parent, what a failed snapshot
    should have held and what only a deleted snapshot held all come out alike.

    The parent is the youngest live snapshot of the volume; with none, the snapshot that it was made
    from, if that is live. With neither, no parent: the snapshot is full. If the snapshot that the
    volume was made from was deleted before all of it was loaded (*initialized*), its versions are
    kept for the volume and charged to nobody, and a full snapshot takes them over.

    A snapshot of a managed volume is *pending* between its beginning, which fixes what it will
    hold, and its completion or failure. Several of one volume end in the order they were begun. The
    oldest has the parent that there is when it begins. A later one has the one before it as its
    parent, if that is completed, and that one's parent if it failed. A parent that is deleted
    meanwhile stays the parent, and its versions are kept.

    A pending snapshot that is deleted is so right after its completion.

Three sizes of a snapshot, in blocks
    *full*: the indices it holds. *incremental*: the versions it made, or all where it is full,
    fixed when it was made.
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
from dataclasses import dataclass, field, replace

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelParent:
    """What a snapshot of a managed volume starts from.

    Attributes:
        snapshot_id: The snapshot, maybe deleted since; None where only a volume keeps its versions.
        root_id: The full snapshot at the beginning of its chain of parents.
        versions: What it holds.
    """

    snapshot_id: str | None
    root_id: str
    versions: dict[int, int]


@dataclass(slots=True, kw_only=True)
class ManagedVolume:
    """A volume whose writes are seen.

    Attributes:
        size_bytes: Whole blocks.
        contents: Block index to content; an index that is missing holds zeros.
        written: The block indices that count as written.
        origin: The snapshot it was made from, as it was then.
        initialized: Whether all of it is loaded.
        deleted: Whether it is to go when no snapshot of it is pending any more.
    """

    size_bytes: int
    contents: dict[int, bytes] = field(default_factory=dict)
    written: set[int] = field(default_factory=set)
    origin: ModelParent | None = None
    initialized: bool = False
    deleted: bool = False


@dataclass(slots=True, kw_only=True)
class ModelPending:
    """A snapshot of a managed volume that is not completed yet: what it will hold.

    Attributes:
        volume: The volume's name.
        size_bytes: The volume's size at the point in time.
        contents: What the written blocks held then.
        parent: What it is incremental on, known once those before it ended; None: it is full.
        deleted: Whether it is to go as soon as it is completed.
    """

    volume: str
    size_bytes: int
    contents: dict[int, bytes]
    parent: ModelParent | None = None
    deleted: bool = False


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

    Attributes:
        encrypted: Whether all is encrypted, under one key. Then equal contents are stored once in
            each *family*: a volume, and those that begin at its snapshots, have one data key.
    """

    def __init__(self, *, encrypted: bool = False) -> None:
        self.encrypted = encrypted
        self.volumes: dict[str, ModelVolume] = {}
        self.managed: dict[str, ManagedVolume] = {}
        self.pending: dict[str, ModelPending] = {}  # in the order they were begun
        self.snapshots: dict[str, ModelSnapshot] = {}  # the live ones, oldest first
        self._content_of: dict[int, bytes] = {}  # version number -> content
        self._next_version = 1
        self._families: dict[str, str] = {}  # volume -> the volume that its family began with
        self._family_of: dict[int, str] = {}  # version number -> its family

    # Volumes

    def add_volume(self, name: str, size_bytes: int, origin_id: str | None = None) -> None:
        """Add a volume, replacing one of that name.

        It begins as zeros, or, made from a snapshot, with what that snapshot holds.

        Args:
            name: The identity of its source.
            size_bytes: 1 or more; with `origin_id`, at least that snapshot's size.
            origin_id: The live snapshot it is made from.
        """
        self._join_family(name, origin_id)
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
                versions[index] = self._new_version(name, content)
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

    # Managed volumes

    def add_managed(self, name: str, size_bytes: int, origin_id: str | None = None) -> None:
        """Add a managed volume: unwritten, or made from a live snapshot.

        Args:
            name: Its name.
            size_bytes: Whole blocks; with `origin_id`, at least that snapshot's size.
            origin_id: The live snapshot it is made from.
        """
        self._join_family(name, origin_id)
        volume = self.managed[name] = ManagedVolume(size_bytes=size_bytes)
        if origin_id is not None:
            volume.origin = self._as_parent(origin_id)
            volume.written = set(volume.origin.versions)
            volume.contents = {i: self.content(origin_id, i) for i in volume.origin.versions}

    def copy_managed(self, name: str, copy: str) -> None:
        """Add a managed volume with what another one holds; zeros are unwritten there."""
        self._families[copy] = self._families[name]
        volume = self.managed[name]
        held = {index: content for index, content in volume.contents.items() if content}
        self.managed[copy] = ManagedVolume(
            size_bytes=volume.size_bytes, contents=held, written=set(held)
        )

    def write_bytes(self, name: str, offset: int, data: bytes) -> None:
        """Write bytes anywhere in a managed volume."""
        volume = self.managed[name]
        assert 0 <= offset <= offset + len(data) <= volume.size_bytes, "it lies within the volume"
        while data:
            index, start = divmod(offset, BLOCK_SIZE)
            part, data = data[: BLOCK_SIZE - start], data[BLOCK_SIZE - start :]
            block = volume.contents.get(index, b"").ljust(BLOCK_SIZE, b"\0")
            block = block[:start] + part + block[start + len(part) :]
            volume.contents[index] = without_zeros_at_end(block)
            volume.written.add(index)
            offset += len(part)

    def discard_bytes(self, name: str, offset: int, length: int) -> None:
        """Discard bytes of a managed volume: zeros where something wrote to, else nothing."""
        volume = self.managed[name]
        while length:
            count = min(BLOCK_SIZE - offset % BLOCK_SIZE, length)
            if offset // BLOCK_SIZE in volume.written:
                self.write_bytes(name, offset, bytes(count))
            offset, length = offset + count, length - count

    def read_bytes(self, name: str, offset: int, length: int) -> bytes:
        """Return what a managed volume holds; fewer bytes at its end."""
        volume = self.managed[name]
        end = min(offset + length, volume.size_bytes)
        first, last = offset // BLOCK_SIZE, block_count(max(end, offset))
        found = [
            volume.contents.get(index, b"").ljust(BLOCK_SIZE, b"\0") for index in range(first, last)
        ]
        return b"".join(found)[offset - first * BLOCK_SIZE : max(0, end - first * BLOCK_SIZE)]

    def initialize(self, name: str) -> None:
        """Load all of a managed volume: what it was made from is not kept for it any more."""
        self.managed[name].initialized = True

    def delete_managed(self, name: str) -> None:
        """Delete a managed volume; what is pending of it is completed first."""
        self.managed[name].deleted = True
        self._drop_deleted(name)

    def begin(self, name: str, snapshot_id: str) -> None:
        """Begin a snapshot of a managed volume, at this very moment."""
        volume = self.managed[name]
        self.pending[snapshot_id] = ModelPending(
            volume=name,
            size_bytes=volume.size_bytes,
            contents={index: volume.contents.get(index, b"") for index in volume.written},
            parent=None if self.pending_of(name) else self.parent_of_managed(name),
        )

    def complete(self, snapshot_id: str) -> None:
        """Complete the oldest pending snapshot of a volume."""
        name = self.pending[snapshot_id].volume
        assert self.pending_of(name)[0] == snapshot_id, "they end in the order they were begun"
        pending = self.pending.pop(snapshot_id)
        old = {} if pending.parent is None else pending.parent.versions
        versions = {}
        made = 0
        for index, content in pending.contents.items():
            if index in old and self._content_of[old[index]] == content:
                versions[index] = old[index]
            else:
                versions[index] = self._new_version(name, content)
                made += 1
        assert old.keys() <= versions.keys(), "what is written once stays written"
        parent_id = None if pending.parent is None else pending.parent.snapshot_id
        self.snapshots[snapshot_id] = ModelSnapshot(
            volume=name,
            size_bytes=pending.size_bytes,
            versions=versions,
            parent_id=parent_id,
            root_id=snapshot_id if pending.parent is None else pending.parent.root_id,
            incremental_blocks=made if parent_id else len(versions),
        )
        self._give_next(name, self._as_parent(snapshot_id))
        self._drop_deleted(name)
        if pending.deleted:
            self._delete_one(snapshot_id)

    def fail(self, snapshot_id: str) -> None:
        """Let a pending snapshot fail, be it the oldest or not: as if it had never been begun."""
        name = self.pending[snapshot_id].volume
        was_oldest = self.pending_of(name)[0] == snapshot_id
        pending = self.pending.pop(snapshot_id)
        if was_oldest:
            self._give_next(name, pending.parent)
        self._drop_deleted(name)

    def pending_of(self, name: str) -> list[str]:
        """Return the pending snapshots of a managed volume, oldest first."""
        return [key for key, pending in self.pending.items() if pending.volume == name]

    # Deleting

    def delete(self, snapshot_ids: Iterable[str]) -> list[ModelDeletion]:
        """Delete live or pending snapshots one by one; say what each deletion did."""
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

    def kept_versions(self) -> set[int]:
        """Return every version that a volume or a pending snapshot still needs; maybe not live."""
        parents = [pending.parent for pending in self.pending.values()]
        parents += [volume.origin for volume in self.managed.values() if not volume.initialized]
        return {version for parent in parents if parent for version in parent.versions.values()}

    def stored_contents(self) -> set[tuple[str, bytes]]:
        """Return every content that must be stored, once in its family, and zeros never.

        The families are told apart only where all is encrypted; else each has an empty name.
        """
        return {
            (self._family_of[version] if self.encrypted else "", content)
            for version in self.live_versions() | self.kept_versions()
            if (content := self._content_of[version])
        }

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

    def _join_family(self, name: str, origin_id: str | None) -> None:
        source = None if origin_id is None else self.snapshots[origin_id].volume
        self._families[name] = name if source is None else self._families[source]

    def _new_version(self, volume: str, content: bytes) -> int:
        version = self._next_version
        self._next_version += 1
        self._content_of[version] = content
        self._family_of[version] = self._families[volume]
        return version

    def _holders(self, version: int) -> Iterator[str]:
        for snapshot_id, snapshot in self.snapshots.items():
            if version in snapshot.versions.values():
                yield snapshot_id

    def _oldest_with(self, version: int) -> str | None:
        return next(self._holders(version), None)

    def _as_parent(self, snapshot_id: str) -> ModelParent:
        snapshot = self.snapshots[snapshot_id]
        return ModelParent(
            snapshot_id=snapshot_id, root_id=snapshot.root_id, versions=snapshot.versions
        )

    def parent_of_managed(self, name: str) -> ModelParent | None:
        """Return what a snapshot begun now would start from; without an id it would be full."""
        own = [key for key, snapshot in self.snapshots.items() if snapshot.volume == name]
        if own:
            return self._as_parent(own[-1])
        volume = self.managed[name]
        if volume.origin is None or volume.origin.snapshot_id in self.snapshots:
            return volume.origin
        return None if volume.initialized else replace(volume.origin, snapshot_id=None)

    def _give_next(self, name: str, parent: ModelParent | None) -> None:
        for following in self.pending_of(name)[:1]:
            self.pending[following].parent = parent

    def _drop_deleted(self, name: str) -> None:
        if self.managed[name].deleted and not self.pending_of(name):
            del self.managed[name]

    def _delete_one(self, snapshot_id: str) -> ModelDeletion:
        if snapshot_id in self.pending:
            self.pending[snapshot_id].deleted = True
            return ModelDeletion(snapshot_id=snapshot_id, freed_blocks=0, moved_to=())
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
