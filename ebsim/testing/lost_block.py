"""A store of which one block is damaged, what damages it, and where its content is found again."""

import shutil
from dataclasses import replace
from pathlib import Path

from ebsim.config import SnapshotOptions
from ebsim.engine import Seams, Store
from ebsim.reports import RepairedRecord, RepairReport
from ebsim.testing.contents import HEAD, NOISE, TEXT, noise_block
from ebsim.testing.damage import RecordPlace, flip_bit, place_of_block
from ebsim.testing.seams import ManualClock, SeededEntropy
from ebsim.testing.sources import disk_of
from ebsim.units import BLOCK_SIZE

LOST = noise_block(7)
"""The content that is damaged: it does not compress, so that its record is large."""

ALIAS = "alias/k"


class Scene:
    """A store with a snapshot of an image, in a segment of its own, that has the block `LOST`.

    Another snapshot, of a disk, is there before it.

    Args:
        folder: Where the store and the image are made.
        encrypted: Whether both snapshots are encrypted, that of the image under the key `ALIAS`.
    """

    def __init__(self, folder: Path, *, encrypted: bool = False) -> None:
        self.seams = Seams(clock=ManualClock(), entropy=SeededEntropy())
        self.folder = folder
        self.path = folder / "store"
        self.image = folder / "disk.img"
        self.image.write_bytes(NOISE + LOST + TEXT)
        options = SnapshotOptions(encrypted=encrypted or None)
        with Store.create(self.path, self.seams) as store:
            if encrypted:
                store.keys.create(alias=ALIAS)
            store.create_snapshot(disk_of(HEAD), options)
        with self.open() as store:
            options = replace(options, kms_key_id=ALIAS if encrypted else None)
            self.snapshot = store.create_snapshot(self.image, options).snapshot_id

    def open(self, **more: object) -> Store:
        """Open the store, perhaps with other seams."""
        return Store.open(self.path, replace(self.seams, **more))  # type: ignore[arg-type]

    def place(self) -> RecordPlace:
        """Return where the store keeps `LOST`, unless it is encrypted."""
        return place_of_block(self.path, LOST)

    def forget_image(self) -> None:
        """Have the image hold something else where it had `LOST`."""
        self.image.write_bytes(NOISE + HEAD + TEXT)

    def copied_store(self) -> Path:
        """Return a copy of the store's folder; the image is forgotten."""
        shutil.copytree(self.path, self.folder / "other")
        self.forget_image()
        return self.folder / "other"

    def other_store(self, options: SnapshotOptions | None = None) -> Path:
        """Return a store with keys of its own, and `LOST` elsewhere; the image is forgotten."""
        other = self.folder / "other"
        with Store.create(other, Seams(clock=ManualClock(), entropy=SeededEntropy(9))) as store:
            store.create_snapshot(disk_of(HEAD, TEXT, LOST), options or SnapshotOptions())
        self.forget_image()
        return other


def of_lost(report: RepairReport) -> RepairedRecord:
    """Return what a repair says about the record of `LOST`."""
    (record,) = [
        each
        for each in report.records
        if each.kind == "block" and (BLOCK_SIZE, 2 * BLOCK_SIZE) in each.ranges
    ]
    return record


def flip_payload(place: RecordPlace) -> None:
    """Flip a bit of what a record stores."""
    flip_bit(place.path, 8 * (place.header.offset + 5000))


def flip_header(place: RecordPlace) -> None:
    """Flip a bit of what a record says of itself."""
    flip_bit(place.path, 8 * (place.header.offset + 48))


def overwrite(place: RecordPlace) -> None:
    """Put something else in a record's place."""
    with place.path.open("r+b") as file:
        file.seek(place.header.offset)
        file.write(b"?" * place.header.extent)


def cut_off(place: RecordPlace) -> None:
    """Have the segment end within a record."""
    with place.path.open("r+b") as file:
        file.truncate(place.header.offset + 8192)


def remove(place: RecordPlace) -> None:
    """Remove the segment."""
    place.path.unlink()


DAMAGES = [flip_payload, flip_header, overwrite, cut_off, remove]
