"""What the archive does to charges and contents, by brute force, for comparing a store with.

A version is charged once in each kin, to the oldest live snapshot there that has it; the archive is
charged with all blocks of what is in it (semantics sections 2.1 and 11.6). Snapshots of one volume
are of one kin; one that comes out of the archive begins another, and what is made of it belongs to
that. Everything is counted anew at every question, and nothing is kept that could be wrong.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

Content = int
"""A number that stands for what a block holds; 0: it was never written."""


@dataclass(slots=True)
class ModelDisk:
    """A source: what each of its blocks holds, and the kin of its snapshots."""

    blocks: list[Content]
    kin: int = 0


@dataclass(slots=True)
class ModelSnapshot:
    """A snapshot.

    Attributes:
        disk: The name of the source it was taken of; empty for a copy.
        order: Grows with the order of completion.
        versions: Block index to version.
        contents: Block index to content.
        kin: Among whom its versions are charged once.
        standard: Whether it is in the standard tier.
        archive: Whether the archive has a copy.
        apart: Whether it came out of the archive: then it is no parent of its volume's next one.
    """

    disk: str
    order: int
    versions: dict[int, int]
    contents: dict[int, Content]
    kin: int
    standard: bool = True
    archive: bool = False
    apart: bool = False


@dataclass(slots=True)
class ArchiveModel:
    """Sources and their snapshots, by name."""

    disks: dict[str, ModelDisk] = field(default_factory=dict)
    snapshots: dict[str, ModelSnapshot] = field(default_factory=dict)
    _numbers: Iterable[int] = field(default_factory=lambda: itertools.count(1))

    def snapshot(self, name: str, disk: str, parent: str | None = None) -> None:
        """Take a snapshot of a source, of which another is the first parent if `parent` says so."""
        source = self.disks[disk]
        base = self.snapshots[parent] if parent else self._newest(disk)
        if base is not None:
            source.kin = base.kin
        else:
            source.kin = self._take()
        versions: dict[int, int] = {}
        contents: dict[int, Content] = {}
        for index, content in enumerate(source.blocks):
            if base is not None and index in base.versions:
                same = base.contents[index] == content
                versions[index] = base.versions[index] if same else self._take()
                contents[index] = content
            elif content:
                versions[index], contents[index] = self._take(), content
        self.snapshots[name] = ModelSnapshot(disk, self._take(), versions, contents, source.kin)

    def copy(self, name: str, source: str) -> None:
        """Copy a snapshot within its Region."""
        of = self.snapshots[source]
        self.snapshots[name] = ModelSnapshot(
            "", self._take(), dict(of.versions), dict(of.contents), of.kin
        )

    def archive(self, name: str) -> None:
        """Move a snapshot to the archive."""
        gone = self.snapshots[name]
        gone.standard, gone.archive, gone.apart = False, True, False

    def restore(self, name: str, *, permanent: bool) -> None:
        """Restore a snapshot, or make one permanent that was restored for a time."""
        back = self.snapshots[name]
        if not back.standard:
            back.standard, back.apart, back.kin = True, True, self._take()
        back.archive = not permanent

    def expire(self) -> None:
        """Have all restores end that are for a time."""
        for each in self.snapshots.values():
            if each.standard and each.archive:
                each.standard = each.apart = False

    def delete(self, name: str) -> None:
        """Delete a snapshot."""
        del self.snapshots[name]

    def charged_blocks(self, name: str) -> int:
        """Return what a snapshot is charged in the standard tier."""
        own = self.snapshots[name]
        if not own.standard:
            return 0
        older: set[int] = set()
        for other in self.snapshots.values():
            if other.standard and other.kin == own.kin and other.order < own.order:
                older.update(other.versions.values())
        return len(set(own.versions.values()) - older)

    def archived_blocks(self, name: str) -> int:
        """Return what a snapshot is charged in the archive."""
        own = self.snapshots[name]
        return len(own.versions) if own.archive else 0

    def _newest(self, disk: str) -> ModelSnapshot | None:
        usable = [
            each
            for each in self.snapshots.values()
            if each.disk == disk and each.standard and not each.apart
        ]
        return max(usable, key=lambda each: each.order, default=None)

    def _take(self) -> int:
        return next(iter(self._numbers))
