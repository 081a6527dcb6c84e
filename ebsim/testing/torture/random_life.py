"""A random life of a store, beside the reference model: everything that a user can do to one.

Scanned disks and managed volumes; snapshots of them, alone and as sets, from one another, failing
and left pending; deletions, tags, images, policies, quotas, compactions, opening again. What was
drawn depends on the source of randomness alone, so a life can be lived again.
"""

import random
from collections.abc import Callable
from pathlib import Path

from ebsim.config import Quotas, SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.errors import SnapshotFailedError
from ebsim.ids import SnapshotId
from ebsim.images import ImageState
from ebsim.policies import CreateRule, PolicyRequest, RetainRule, Schedule
from ebsim.requests import (
    BlockDevice,
    ImageOptions,
    ImageQuery,
    PruneOptions,
    VolumeModificationRequest,
    VolumeRequest,
)
from ebsim.results import SnapshotState
from ebsim.storage.files import Files
from ebsim.testing.contents import palette_block
from ebsim.testing.faults import Faults
from ebsim.testing.invariants import (
    assert_ledger_matches,
    assert_snapshot_matches,
    assert_totals_match,
)
from ebsim.testing.model import ReferenceModel
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import FailingSource, MemorySource
from ebsim.units import BLOCK_SIZE, GIB, block_count

DISK_BLOCKS_MAX = 5
DISKS_MAX = 3
VOLUMES_MAX = 3
SNAPSHOTS_MAX = 9
LAST = GIB // BLOCK_SIZE - 1
PLACES = (0, 1, 255, 256, LAST)
"""The blocks of managed volumes that are written to: beside the borders of leaves of a map."""

NEAR = (0, 1, 2, 254, 255, 256, 257, LAST - 1, LAST, LAST + 1, LAST + 2)
"""The blocks of managed volumes that are compared."""

CONTENTS = (0, 4, 5, 6, 7, 8, 9)
"""Of the palette: zeros, and some of each kind."""


class RandomLife:
    """A store, its model, and what is written to.

    Args:
        path: Where the store is to be.
        chance: Decides everything.

    Attributes:
        store: The store, open.
        model: What it should be; what images, policies and tags should be is not in it.
        failed: Snapshots in state `error`.
        unsure: Of each volume, the blocks of zeros that were written before a rebuild and are
            in no snapshot: they count as unwritten.
        faults: What is to go wrong.
    """

    def __init__(self, path: Path, chance: random.Random) -> None:
        self.path = path
        self.chance = chance
        self.clock = ManualClock(step_us=1000)
        self.faults = Faults()
        self.model = ReferenceModel()
        self.disks: dict[str, MemorySource] = {}
        self.failed: set[str] = set()
        self.unsure: dict[str, set[int]] = {}
        self.store = Store.create(path, self.seams())

    def seams(self, files: Files | None = None) -> Seams:
        """Return the seams for the next handle."""
        return Seams(
            files=files or self.faults.files,
            clock=self.clock,
            entropy=SeededEntropy(self.chance.getrandbits(32)),
            before_copy=self.faults.before_copy,
        )

    def live(self, steps: int) -> None:
        """Do so many things."""
        for _ in range(steps):
            self.step()

    def step(self) -> str:
        """Do one thing; return its name."""
        names, weights = zip(*_STEPS, strict=True)
        name: str = self.chance.choices(names, weights)[0]
        self.take(name)
        return name

    def take(self, name: str) -> None:
        """Do a thing by its name."""
        step: Callable[[], None] = getattr(self, f"_{name}")
        step()

    def reopen(self) -> None:
        """Open the store again, or for the first time after it was rebuilt."""
        self.faults.reset()
        self.store = Store.open(self.path, self.seams())

    # Comparing

    def compare(self) -> None:
        """Compare all that the model knows with what the store says.

        Raises:
            AssertionError: They differ.
        """
        shown = self.store.list_snapshots()
        completed = [each for each in shown if each.state is SnapshotState.COMPLETED]
        _expect([each.snapshot_id for each in completed], list(self.model.snapshots), "snapshots")
        others = {each.snapshot_id for each in shown} - self.model.snapshots.keys()
        _expect(others, {*self.failed, *self.model.pending}, "failed and pending snapshots")
        for each in completed:
            assert_snapshot_matches(each, self.model)
            self._compare_blocks(each.snapshot_id)
        assert_ledger_matches(self.store, self.model)
        if not self.model.pending:
            assert_totals_match(self.store, self.model)
        sizes = {each.volume_id: each.size_bytes for each in self.store.volumes.list()}
        expected = {name: each.size_bytes for name, each in self.model.managed.items()}
        _expect(sizes, expected, "volumes")

    def compare_volumes(self) -> None:
        """Compare what managed volumes hold; opening them may load what they are made from.

        Raises:
            AssertionError: They differ.
        """
        for name, volume in self.model.managed.items():
            if volume.deleted:
                continue
            with self.store.volumes.open(name) as file:
                for index in NEAR:
                    found = file.pread(BLOCK_SIZE, index * BLOCK_SIZE)
                    expected = self.model.read_bytes(name, index * BLOCK_SIZE, BLOCK_SIZE)
                    _expect(found == expected, True, f"volume {name}, block {index}")

    def _compare_blocks(self, snapshot_id: str) -> None:
        size = self.model.snapshots[snapshot_id].size_bytes
        for index in NEAR if size >= GIB else range(block_count(size)):
            if index * BLOCK_SIZE < size:
                found = self.store.read_block(snapshot_id, index)
                expected = self.model.content(snapshot_id, index).ljust(BLOCK_SIZE, b"\0")
                _expect(found == expected, True, f"{snapshot_id}, block {index}")

    # Scanned disks

    def _disk(self) -> str:
        """Draw a disk, maybe a new one."""
        if not self.disks or (len(self.disks) < DISKS_MAX and self.chance.random() < 0.2):
            name = f"memory:disk{len(self.disks)}"
            size = self.chance.randrange(1, DISK_BLOCKS_MAX * BLOCK_SIZE)
            self.disks[name] = MemorySource(name, size)
            self.model.add_volume(name, size)
        return self.chance.choice(list(self.disks))

    def _write_disk(self) -> None:
        name = self._disk()
        for _ in range(self.chance.randrange(1, 4)):
            self._put(name, self.chance.randrange(block_count(self.disks[name].size_bytes)))

    def _put(self, name: str, index: int) -> None:
        disk = self.disks[name]
        length = min(BLOCK_SIZE, disk.size_bytes - index * BLOCK_SIZE)
        block = palette_block(self.chance.choice(CONTENTS))[:length]
        disk.write(index * BLOCK_SIZE, block)
        self.model.write(name, index, block)

    def _grow_disk(self) -> None:
        name = self._disk()
        size = min(self.disks[name].size_bytes + BLOCK_SIZE // 2, DISK_BLOCKS_MAX * BLOCK_SIZE)
        self.disks[name].grow(size)
        self.model.grow(name, size)

    def _snapshot_disk(self) -> None:
        if not self._has_room():
            return
        self._write_disk()
        name = self._disk()
        options = SnapshotOptions(description=f"of {name}", tags=self._some_tags())
        shown = self.store.create_snapshot(self.disks[name], options)
        self.model.snapshot(name, shown.snapshot_id)

    def _branch(self) -> None:
        origin = self._snapshot(scanned=True)
        if origin is None or not self._has_room() or len(self.disks) >= DISKS_MAX:
            return
        image = bytearray(self.model.image(origin))
        name = f"memory:disk{len(self.disks)}"
        self.disks[name] = MemorySource(name, image)
        self.model.add_volume(name, len(image), origin)
        self._put(name, self.chance.randrange(block_count(len(image))))
        options = SnapshotOptions(parent=SnapshotId(origin))
        shown = self.store.create_snapshot(self.disks[name], options)
        self.model.snapshot(name, shown.snapshot_id)

    def _fail(self) -> None:
        if len(self.failed) >= 2:
            return
        disk = self.disks[self._disk()]
        disk.write(0, disk.read(0, 1))  # no hole, so that it must be read
        try:
            self.store.create_snapshot(FailingSource(disk, unreadable_block=0))
        except SnapshotFailedError as error:
            self.failed.add(str(error.snapshot_id))

    # Managed volumes

    def _volume(self) -> str | None:
        names = [name for name, each in self.model.managed.items() if not each.deleted]
        return self.chance.choice(names) if names else None

    def _make_volume(self) -> None:
        if len(self.model.managed) >= VOLUMES_MAX:
            return
        origin = self._snapshot() if self.chance.random() < 0.7 else None
        request = VolumeRequest(
            snapshot_id=origin, size_gib=None if origin else 1, tags=self._some_tags()
        )
        made = self.store.volumes.create(request)
        self.model.add_managed(made.volume_id, made.size_bytes, origin)
        self.write_volume(made.volume_id)

    def _write_volume(self) -> None:
        if (name := self._volume()) is not None:
            self.write_volume(name)

    def write_volume(self, name: str) -> None:
        """Write to a volume, and discard, at some places."""
        with self.store.volumes.open(name) as file:
            for _ in range(self.chance.randrange(1, 4)):
                block, at = self.chance.choice(PLACES), self.chance.choice((0, 0, 777))
                size = self.chance.choice((BLOCK_SIZE, BLOCK_SIZE, 5000)) - at
                offset = block * BLOCK_SIZE + at
                unsure = self.unsure.get(name, set())
                if self.chance.random() < 0.3:
                    if block in unsure:
                        continue  # whether it does anything is as unsure
                    file.discard(offset, size)
                    self.model.discard_bytes(name, offset, size)
                    continue
                data = palette_block(self.chance.choice(CONTENTS))[at : at + size]
                file.pwrite(data, offset)
                self.model.write_bytes(name, offset, data)
                unsure.discard(block)
            if self.chance.random() < 0.5:
                file.pread(10, self.chance.choice(PLACES) * BLOCK_SIZE)

    def _change_volume(self) -> None:
        name = self._volume()
        if name is None:
            return
        what = self.chance.choice(("load", "grow", "delete"))
        if what == "load":
            self.store.volumes.initialize(name)
            self.model.initialize(name)
        elif what == "delete":
            self.store.volumes.delete(name)
            self.model.delete_managed(name)
        elif self.model.managed[name].size_bytes < 3 * GIB:
            self.clock.advance(days=1)
            self.model.managed[name].size_bytes += GIB
            size_gib = self.model.managed[name].size_bytes // GIB
            self.store.volumes.modify(name, VolumeModificationRequest(size_gib=size_gib))

    def _snapshot_volumes(self) -> None:
        for name in self.begin_snapshots():
            self.store.wait_snapshots([name])
            self.model.complete(name)

    def begin_snapshots(self) -> list[str]:
        """Begin a snapshot of a volume, or of several at once; return their ids."""
        names = [name for name, each in self.model.managed.items() if not each.deleted]
        if not names or not self._has_room():
            return []
        chosen = self.chance.sample(names, self.chance.randint(1, min(2, len(names))))
        shown = self.store.create_snapshots(chosen, SnapshotOptions(tags=self._some_tags()))
        for name, each in zip(chosen, shown, strict=True):
            self.model.managed[name].written -= self.unsure.pop(name, set())
            self.model.begin(name, each.snapshot_id)
        return [each.snapshot_id for each in shown]

    def rebuilt(self) -> None:
        """Forget what a rebuild does not bring back."""
        self.failed.clear()
        for name, volume in self.model.managed.items():
            volume.deleted = False
            parent = self.model.parent_of_managed(name)
            held = parent.versions.keys() if parent else set()
            zeros = {block for block in volume.written if not volume.contents.get(block)}
            self.unsure[name] = zeros - held

    # Deleting, and what stands beside snapshots

    def _snapshot(self, *, scanned: bool = False) -> str | None:
        names = [
            name
            for name, each in self.model.snapshots.items()
            if not scanned or each.size_bytes < GIB
        ]
        return self.chance.choice(names) if names else None

    def _has_room(self) -> bool:
        return len(self.model.snapshots) + len(self.failed) < SNAPSHOTS_MAX

    def _free_to_delete(self) -> list[str]:
        images = self.store.images.list(ImageQuery(include_disabled=True))
        used = {each.snapshot_id for image in images for each in image.devices}
        return [name for name in [*self.model.snapshots, *self.failed] if name not in used]

    def _delete(self) -> None:
        names = self._free_to_delete()
        chosen = self.chance.sample(names, min(len(names), self.chance.randint(1, 3)))
        if chosen:
            self.store.delete_snapshots(chosen)
            self.forget(chosen)

    def forget(self, names: list[str]) -> None:
        """Delete snapshots in the model."""
        self.model.delete([name for name in names if name not in self.failed])
        self.failed -= set(names)

    def _prune(self) -> None:
        if self.store.images.list(ImageQuery(include_disabled=True)):
            return
        pruned = self.store.prune(PruneOptions(keep_last=2))
        self.forget([str(each.snapshot_id) for each in pruned.pruned])

    def _some_tags(self) -> dict[str, str]:
        return {key: str(self.chance.randrange(3)) for key in "ab" if self.chance.random() < 0.5}

    def _tag(self) -> None:
        named = [*self.model.snapshots, *self.model.managed]
        if not named:
            return
        chosen = self.chance.sample(named, self.chance.randint(1, min(2, len(named))))
        if self.chance.random() < 0.6:
            self.store.tags.create(chosen, {"a": "new", "c": "d"})
        else:
            self.store.tags.delete(chosen, self.chance.choice((None, {"a": None}, {"b": "1"})))

    def _image(self) -> None:
        images = self.store.images.list(ImageQuery(include_disabled=True))
        origin = self._snapshot()
        if len(images) < 2 and origin is not None:
            devices = {"/dev/sda1": BlockDevice(snapshot_id=origin)}
            options = ImageOptions(tags=self._some_tags())
            self.store.images.register(f"image {self.chance.random()}", devices, options)
            return
        for image in images[:1]:
            what = self.chance.choice(("state", "deprecate", "deregister", "deregister"))
            if what == "deregister":
                self.store.images.deregister(image.image_id)
            elif what == "deprecate":
                self.store.images.deprecate(image.image_id, self.clock.now_us() + 60_000_000)
            elif image.state is ImageState.AVAILABLE:
                self.store.images.disable(image.image_id)
            else:
                self.store.images.enable(image.image_id)

    def _policy(self) -> None:
        known = self.store.lifecycle.list()
        if known and self.chance.random() < 0.5:
            self.store.lifecycle.delete(known[0].policy_id)
            return
        schedule = Schedule(
            name=self.chance.choice(("daily", "weekly")),
            create=CreateRule(interval_hours=24, time="03:00"),
            retain=RetainRule(count=self.chance.randint(1, 9)),
        )
        request = PolicyRequest(description="one", sources=("/disk.img",), schedules=(schedule,))
        self.store.lifecycle.put(request, known[0].policy_id if known else None)

    def _set_quotas(self) -> None:
        self.store.quotas = Quotas(modifications_per_day=self.chance.randint(4, 9))

    def _compact(self) -> None:
        self.store.compact()

    def _open_again(self) -> None:
        self.store.close()
        self.reopen()


_STEPS = (
    ("write_disk", 3),
    ("grow_disk", 1),
    ("snapshot_disk", 8),
    ("branch", 3),
    ("fail", 1),
    ("make_volume", 4),
    ("write_volume", 4),
    ("change_volume", 2),
    ("snapshot_volumes", 5),
    ("delete", 6),
    ("prune", 1),
    ("tag", 3),
    ("image", 3),
    ("policy", 2),
    ("set_quotas", 1),
    ("compact", 2),
    ("open_again", 1),
)


def _expect(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise AssertionError(f"{what}: expected {expected!r}, found {found!r}")
